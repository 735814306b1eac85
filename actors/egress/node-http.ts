/**
 * Node's HTTP, not by `import`: that reads every name it exports, one of them undici's WebSocket, which is loaded for it. 50 ms of each start and
 * several MiB, for nothing (Node 26).
 */
export const http = process.getBuiltinModule('node:http')
