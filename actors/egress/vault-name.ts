/** Apart from the vault's format, so that whoever asks whether there is a vault need not load its schemas. */
export const vaultName = 'vault.json'
