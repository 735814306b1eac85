/**
 * What is asked of Hyper-V, as PowerShell. Pure. Cmdlets of the module Hyper-V; Hyper-V sockets as "Make your own integration services" has them
 * (learn.microsoft.com): address family 34, protocol 1, an address of family, reserved, VM id and service id, and for a guest's vsock port
 * the service id `<port in hex>-facb-11e6-bd58-64006a7986d3`.
 */
import { vsockPorts } from './limits.ts'

export type HypervMachine = {
  name: string
  cpus: number
  memoryMiB: number
  /** Disk the machine boots from; read only, the machine writes to a difference of its own. */
  bootDisk: string
  /** Folder for the disks of this machine. */
  scratchDir: string
  scratchBytes: number
  /** Named pipe its first serial port is connected to. */
  console: string
}

export const bootDiskFile = 'boot.vhdx'

/** A string PowerShell takes literally. */
const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`

const serviceId = (port: number): string => `${port.toString(16).padStart(8, '0')}-facb-11e6-bd58-64006a7986d3`

const registered = (port: number): string =>
  `HKLM:\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Virtualization\\GuestCommunicationServices\\${serviceId(port)}`

/** Allows connections from guests to our ports. Needs an administrator, once. */
export const registerScript = Object.entries(vsockPorts)
  .map(([what, port]) => {
    return `New-Item -Path ${quoted(registered(port))} -Force | New-ItemProperty -Name ElementName -Value ${quoted(`Bulkhead ${what}`)} | Out-Null`
  })
  .join('; ')

export const findScript = `$module = Get-Module -ListAvailable -Name Hyper-V | Select-Object -First 1
if ($null -eq $module) { [Console]::Error.WriteLine('the PowerShell module Hyper-V is not there'); exit 3 }
Get-VMHost | Out-Null
if (-not (Test-Path ${quoted(registered(vsockPorts.control))})) { [Console]::Error.WriteLine('guests may not connect to Bulkhead: its services are not registered'); exit 4 }
'Hyper-V ' + $module.Version.ToString() + ' on ' + [Environment]::OSVersion.Version.ToString()`

/** Second generation, no network adapter, no checkpoints, no integration services: a processor, memory, two disks and a serial port. */
export function createScript({ name, cpus, memoryMiB, bootDisk, scratchDir, scratchBytes, console }: HypervMachine): string {
  const vm = `-VMName ${quoted(name)}`
  const root = quoted(`${scratchDir}\\root.vhdx`)
  const disk = quoted(`${scratchDir}\\disk.vhdx`)
  return [
    `New-VHD -Path ${root} -ParentPath ${quoted(bootDisk)} -Differencing | Out-Null`,
    `New-VHD -Path ${disk} -SizeBytes ${scratchBytes} -Dynamic | Out-Null`,
    `New-VM -Name ${quoted(name)} -Generation 2 -MemoryStartupBytes ${memoryMiB * 1024 * 1024} -VHDPath ${root} -Path ${quoted(scratchDir)} | Out-Null`,
    `Get-VMNetworkAdapter ${vm} | Remove-VMNetworkAdapter`,
    `Get-VMIntegrationService ${vm} | Disable-VMIntegrationService`,
    `Set-VM -Name ${quoted(name)} -StaticMemory -ProcessorCount ${cpus} -CheckpointType Disabled -AutomaticStartAction Nothing -AutomaticStopAction TurnOff`,
    `Set-VMFirmware ${vm} -EnableSecureBoot Off`,
    `Add-VMHardDiskDrive ${vm} -Path ${disk}`,
    `Set-VMComPort ${vm} -Number 1 -Path ${quoted(console)}`,
    `(Get-VM -Name ${quoted(name)}).Id.ToString()`,
  ].join('\n')
}

export const startScript = (name: string): string => `Start-VM -Name ${quoted(name)}`
export const pauseScript = (name: string): string => `Suspend-VM -Name ${quoted(name)}`
export const resumeScript = (name: string): string => `Resume-VM -Name ${quoted(name)}`
export const offScript = (name: string): string => `Stop-VM -Name ${quoted(name)} -TurnOff -Force`
export const stateScript = (name: string): string => `(Get-VM -Name ${quoted(name)}).State.ToString()`

/** Prints how many there were. */
export const removeScript = (name: string): string => `$left = @(Get-VM -Name ${quoted(name)} -ErrorAction SilentlyContinue)
$left | Where-Object State -ne 'Off' | Stop-VM -TurnOff -Force
$left | Remove-VM -Force
$left.Count`

/** Ends when the machine is off, with its last state. */
export const waitScript = (name: string): string => `while ($true) {
  $vm = Get-VM -Name ${quoted(name)} -ErrorAction SilentlyContinue
  if ($null -eq $vm -or $vm.State -eq 'Off') { break }
  Start-Sleep -Milliseconds 200
}`

/** Accepts the machine's first connection to the port and carries it on standard input and output. Says so on standard error. */
export function bridgeScript(vmId: string, port: number): string {
  return `Add-Type -TypeDefinition @'
using System; using System.Net; using System.Net.Sockets;
public class HvEndPoint : EndPoint {
  readonly Guid vm, service;
  public HvEndPoint(Guid vm, Guid service) { this.vm = vm; this.service = service; }
  public override AddressFamily AddressFamily { get { return (AddressFamily)34; } }
  public override EndPoint Create(SocketAddress address) { return this; }
  public override SocketAddress Serialize() {
    var address = new SocketAddress((AddressFamily)34, 36);
    var a = vm.ToByteArray(); var b = service.ToByteArray();
    for (int i = 0; i < 16; i++) { address[4 + i] = a[i]; address[20 + i] = b[i]; }
    return address;
  }
}
public static class HvBridge {
  public static void Run(string vm, string service) {
    var listener = new Socket((AddressFamily)34, SocketType.Stream, (ProtocolType)1);
    listener.Bind(new HvEndPoint(new Guid(vm), new Guid(service)));
    listener.Listen(1);
    Console.Error.WriteLine("listening");
    var socket = listener.Accept();
    listener.Close();
    Console.Error.WriteLine("connected");
    var stream = new NetworkStream(socket, true);
    var inward = Console.OpenStandardInput(); var outward = Console.OpenStandardOutput();
    var up = System.Threading.Tasks.Task.Run(() => inward.CopyTo(stream));
    stream.CopyTo(outward);
    outward.Flush();
  }
}
'@
[HvBridge]::Run(${quoted(vmId)}, ${quoted(serviceId(port))})`
}

/** As `powershell.exe` takes a whole script on its command line: no quoting can go wrong. */
export function powershellArgs(script: string): string[] {
  const whole = `$ErrorActionPreference = 'Stop'\n$ProgressPreference = 'SilentlyContinue'\n${script}`
  return ['-NoLogo', '-NoProfile', '-NonInteractive', '-EncodedCommand', Buffer.from(whole, 'utf16le').toString('base64')]
}
