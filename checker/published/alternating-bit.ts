/** Two alternating bits, each after its source: Lamport's with queues that lose, and Groote and Mousavi's with channels that spoil. */
import { guarded } from '../guarded.ts'
import type { Product } from '../product.ts'

const values = ['d1', 'd2']

/** Bartlett's alternating bit as in Lamport's *Specifying Systems*: queues of two that lose, two values. */
export function alternatingBit(): Product {
  type Message = { bit: number; value: string }
  type V = {
    messages: readonly Message[]
    acks: readonly number[]
    sendBit: number
    sendAck: number
    receiveBit: number
    sent: string
    received: string
  }
  const lose = <T>(queue: readonly T[]): T[][] => queue.map((_, i) => queue.toSpliced(i, 1))
  const room = 2
  return guarded<V>({
    name: 'AlternatingBit',
    variables: [0, 1].flatMap((bit) =>
      values.flatMap((sent) =>
        values.map((received) => ({ messages: [], acks: [], sendBit: bit, sendAck: bit, receiveBit: bit, sent, received })),
      ),
    ),
    actions: {
      sendNew: {
        next: ({ sendBit, sendAck, messages }) =>
          sendBit === sendAck &&
          messages.length < room &&
          values.map((value) => ({ sent: value, sendBit: 1 - sendBit, messages: [...messages, { bit: 1 - sendBit, value }] })),
      },
      sendAgain: {
        next: ({ sendBit, sendAck, messages, sent }) =>
          sendBit !== sendAck && messages.length < room && { messages: [...messages, { bit: sendBit, value: sent }] },
      },
      receive: {
        next: ({ messages, receiveBit }) => {
          const [first, ...rest] = messages
          return first && { messages: rest, receiveBit: first.bit, ...(first.bit === receiveBit ? {} : { received: first.value }) }
        },
      },
      acknowledge: { next: ({ acks, receiveBit }) => acks.length < room && { acks: [...acks, receiveBit] } },
      receiveAck: { next: ({ acks }) => acks.length > 0 && { acks: acks.slice(1), sendAck: acks[0] as number } },
      loseMessage: { next: ({ messages }) => lose(messages).map((rest) => ({ messages: rest })) },
      loseAck: { next: ({ acks }) => lose(acks).map((rest) => ({ acks: rest })) },
    },
    sometimes: { 'a value arrives': ({ sendBit, receiveBit, sent, received }) => sendBit === receiveBit && sent === received },
    mayEnd: true,
  })
}

/**
 * The same protocol as a process algebra has it: sender, receiver and two channels for one message, which arrives, or arrives spoilt. A
 * handshake is one step of two. mCRL2, `examples/academic/abp/abp.mcrl2`, after Groote and Mousavi, *Modeling and Analysis of Communicating Systems*.
 */
export function alternatingBitOfProcesses(): Product {
  type Sender = { at: 'idle' | 'sending' | 'waiting'; bit: boolean; value: string | null }
  type Receiver = { at: 'listening' | 'delivering' | 'answering'; bit: boolean; value: string | null; answer: boolean | null }
  type Channel = { at: 'free' | 'choosing' | 'arriving' | 'spoilt'; value: string | null; bit: boolean | null }
  type V = { sender: Sender; receiver: Receiver; messages: Channel; acks: Channel }
  const free: Channel = { at: 'free', value: null, bit: null }
  const choices = (channel: Channel): Channel[] => [
    { ...channel, at: 'arriving' },
    { ...free, at: 'spoilt' },
  ]
  return guarded<V>({
    name: 'AlternatingBitOfProcesses',
    variables: {
      sender: { at: 'idle', bit: true, value: null },
      receiver: { at: 'listening', bit: true, value: null, answer: null },
      messages: free,
      acks: free,
    },
    actions: {
      'take a value': {
        next: ({ sender }) => sender.at === 'idle' && values.map((value) => ({ sender: { ...sender, at: 'sending', value } })),
      },
      send: {
        next: ({ sender, messages }) =>
          sender.at === 'sending' &&
          messages.at === 'free' && {
            sender: { ...sender, at: 'waiting' },
            messages: { at: 'choosing', value: sender.value, bit: sender.bit },
          },
      },
      'a message arrives or is spoilt': {
        next: ({ messages }) => messages.at === 'choosing' && choices(messages).map((channel) => ({ messages: channel })),
      },
      receive: {
        next({ receiver, messages }) {
          if (receiver.at !== 'listening' || (messages.at !== 'arriving' && messages.at !== 'spoilt')) return false
          const isNew = messages.at === 'arriving' && messages.bit === receiver.bit
          return {
            messages: free,
            receiver: isNew
              ? { ...receiver, at: 'delivering', value: messages.value }
              : { ...receiver, at: 'answering', answer: !receiver.bit },
          }
        },
      },
      deliver: {
        next: ({ receiver }) =>
          receiver.at === 'delivering' && { receiver: { ...receiver, at: 'answering', value: null, answer: receiver.bit } },
      },
      acknowledge: {
        next: ({ receiver, acks }) =>
          receiver.at === 'answering' &&
          acks.at === 'free' && {
            // What it answered is what it has: it listens for the other.
            receiver: { at: 'listening', bit: !receiver.answer, value: null, answer: null },
            acks: { at: 'choosing', value: null, bit: receiver.answer },
          },
      },
      'an acknowledgement arrives or is spoilt': {
        next: ({ acks }) => acks.at === 'choosing' && choices(acks).map((channel) => ({ acks: channel })),
      },
      'hear of it': {
        next({ sender, acks }) {
          if (sender.at !== 'waiting' || (acks.at !== 'arriving' && acks.at !== 'spoilt')) return false
          const isDone = acks.at === 'arriving' && acks.bit === sender.bit
          return { acks: free, sender: isDone ? { at: 'idle', bit: !sender.bit, value: null } : { ...sender, at: 'sending' } }
        },
      },
    },
    always: {
      'what is delivered is what was sent': ({ sender, receiver }) => receiver.at !== 'delivering' || receiver.value === sender.value,
    },
    sometimes: { 'a value is delivered': ({ receiver }) => receiver.at === 'delivering' },
    possible: { 'a value can be taken again': ({ sender }) => sender.at === 'idle' },
  })
}
