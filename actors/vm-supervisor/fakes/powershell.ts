/**
 * PowerShell with the module Hyper-V and no hypervisor: the cmdlets the driver uses, with the parameters their documents have, over machines kept
 * in a file beside this program. A machine that was started is a process of its own, which ends when the machine is off.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { FakeGuest } from './guest.ts'

type Machine = { id: string; state: 'Off' | 'Running' | 'Paused'; console: string; adapters: number; services: number }
type Parameters = Map<string, string>

const program = process.argv[1] ?? ''
const file = join(dirname(program), 'machines.json')
const pollMs = 20

function load(): Record<string, Machine> {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, Machine>) : {}
}
function store(machines: Record<string, Machine>): void {
  writeFileSync(`${file}.new`, JSON.stringify(machines))
  renameSync(`${file}.new`, file)
}
const find = (id: string): Machine | undefined => Object.values(load()).find((machine) => machine.id === id)
const wait = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pollMs))

function fail(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}

function change(name: string, to: (machine: Machine) => void): void {
  const machines = load()
  to(machines[name] ?? fail(`Hyper-V was unable to find a virtual machine with name "${name}".`))
  store(machines)
}

function move(name: string, from: Machine['state'], to: Machine['state']): void {
  change(name, (machine) => {
    if (machine.state !== from) fail(`The operation cannot be performed while the virtual machine is in its current state.`)
    machine.state = to
  })
}

/** What each cmdlet takes; switches have no value. */
const cmdlets: Readonly<Record<string, { takes: readonly string[]; does(given: Parameters): void }>> = {
  'New-VHD': {
    takes: ['Path', 'ParentPath', 'Differencing', 'SizeBytes', 'Dynamic'],
    does: (given) => {
      const parent = given.get('ParentPath')
      if (parent !== undefined && !existsSync(parent)) fail(`The system cannot find the file specified: '${parent}'`)
    },
  },
  'New-VM': {
    takes: ['Name', 'Generation', 'MemoryStartupBytes', 'VHDPath', 'Path'],
    does: (given) => {
      const machines = load()
      const id = `00000000-0000-4000-8000-${String(Object.keys(machines).length).padStart(12, '0')}`
      machines[given.get('Name') ?? fail('no name')] = { id, state: 'Off', console: '', adapters: 1, services: 6 }
      store(machines)
    },
  },
  'Get-VMNetworkAdapter': { takes: ['VMName'], does: (given) => change(given.get('VMName') ?? '', (machine) => (machine.adapters = 0)) },
  'Get-VMIntegrationService': {
    takes: ['VMName'],
    does: (given) => change(given.get('VMName') ?? '', (machine) => (machine.services = 0)),
  },
  'Set-VM': {
    takes: ['Name', 'StaticMemory', 'ProcessorCount', 'CheckpointType', 'AutomaticStartAction', 'AutomaticStopAction'],
    does: (given) => change(given.get('Name') ?? '', () => {}),
  },
  'Set-VMFirmware': { takes: ['VMName', 'EnableSecureBoot'], does: (given) => change(given.get('VMName') ?? '', () => {}) },
  'Add-VMHardDiskDrive': { takes: ['VMName', 'Path'], does: (given) => change(given.get('VMName') ?? '', () => {}) },
  'Set-VMComPort': {
    takes: ['VMName', 'Number', 'Path'],
    does: (given) => change(given.get('VMName') ?? '', (machine) => (machine.console = given.get('Path') ?? '')),
  },
  'Start-VM': {
    takes: ['Name'],
    does: (given) => {
      const name = given.get('Name') ?? ''
      const { adapters, services } = load()[name] ?? fail('no such machine')
      if (adapters > 0 || services > 0) fail('a machine with a network adapter or integration services was started')
      move(name, 'Off', 'Running')
      spawn(process.execPath, [program, '--machine', name], { stdio: 'ignore', detached: true }).unref()
    },
  },
  'Suspend-VM': { takes: ['Name'], does: (given) => move(given.get('Name') ?? '', 'Running', 'Paused') },
  'Resume-VM': { takes: ['Name'], does: (given) => move(given.get('Name') ?? '', 'Paused', 'Running') },
  'Stop-VM': {
    takes: ['Name', 'TurnOff', 'Force'],
    does: (given) => change(given.get('Name') ?? '', (machine) => (machine.state = 'Off')),
  },
}

function parametersOf(name: string, text: string, takes: readonly string[]): Parameters {
  const given: Parameters = new Map()
  for (const [, key = '', literal, bare] of text.matchAll(/-(\w+)(?: '((?:[^']|'')*)'| ([^\s'-]\S*))?/g)) {
    if (!takes.includes(key)) fail(`${name} : A parameter cannot be found that matches parameter name '${key}'.`)
    given.set(key, literal?.replaceAll("''", "'") ?? bare ?? '')
  }
  return given
}

async function perform(script: string): Promise<void> {
  const bridge = /\[HvBridge\]::Run\('([^']+)', '([^']+)'\)/.exec(script)
  if (bridge) return carry(bridge[1] ?? '', bridge[2] ?? '')
  const named = /Get-VM -Name '([^']+)'/.exec(script)?.[1] ?? ''
  if (script.includes('Get-Module -ListAvailable')) return console.log('Hyper-V 2.0.0.0 on 10.0.26100.0')
  if (script.includes('while ($true)')) {
    while ((load()[named]?.state ?? 'Off') !== 'Off') await wait()
    return
  }
  if (script.includes('Remove-VM -Force')) {
    const { [named]: left, ...others } = load()
    store(others)
    return console.log(left ? 1 : 0)
  }
  for (const line of script.split('\n').filter((one) => one !== '' && !one.startsWith('$'))) {
    const asked = /^\(Get-VM -Name '([^']+)'\)\.(\w+)\.ToString\(\)$/.exec(line)
    const cmdlet = /^([A-Z]\w+-\w+) ?(.*?)(?: \| [A-Z]\w+-\w+)*$/.exec(line)
    if (asked) {
      const machine = load()[asked[1] ?? ''] ?? fail('Hyper-V was unable to find the virtual machine.')
      console.log(asked[2] === 'Id' ? machine.id : machine.state)
    } else if (cmdlet) {
      const name = cmdlet[1] ?? ''
      const known = cmdlets[name] ?? fail(`The term '${name}' is not recognized as the name of a cmdlet`)
      known.does(parametersOf(name, cmdlet[2] ?? '', known.takes))
    } else fail(`cannot parse: ${line}`)
  }
}

/** One end of a Hyper-V socket: the guest's program connects when its machine runs. */
async function carry(id: string, service: string): Promise<void> {
  if (!/^[0-9a-f]{8}-facb-11e6-bd58-64006a7986d3$/.test(service)) fail('the guest has no such port')
  process.stderr.write('listening\n')
  while (find(id)?.state === 'Off') await wait()
  process.stderr.write('connected\n')
  const guest = new FakeGuest(() => find(id)?.state === 'Paused')
  guest.run(
    () => {},
    [{ from: process.stdin, to: process.stdout }],
    () => process.exit(0),
  )
  for (let state = find(id)?.state; state === 'Running' || state === 'Paused'; state = find(id)?.state) {
    if (state === 'Paused') guest.stop()
    else guest.goOn()
    await wait()
  }
  process.exit(0)
}

/** The machine itself, as far as it has a serial port. */
async function runMachine(name: string): Promise<void> {
  const pipe = load()[name]?.console ?? ''
  createServer((socket) => {
    socket.on('error', () => {})
    new FakeGuest().run(
      (text) => socket.write(text),
      [],
      () => {},
    )
  }).listen(pipe)
  while ((load()[name]?.state ?? 'Off') !== 'Off') await wait()
  process.exit(0)
}

const [first, second = ''] = process.argv.slice(2)
if (first === '--machine') await runMachine(second)
else {
  const at = process.argv.indexOf('-EncodedCommand')
  if (at < 0) fail('only -EncodedCommand is known')
  await perform(Buffer.from(process.argv[at + 1] ?? '', 'base64').toString('utf16le'))
}
