/** A thread that judges the mutants of one actor that it is asked for. */
import { parentPort, workerData } from 'node:worker_threads'
import { judging, perMutant } from '../checker/mutate.ts'
import { subjects } from '../checker/subjects.ts'
import type { MutantNews, MutantTask } from './mutate-threads.ts'

const { name } = workerData as MutantTask
const subject = subjects().find((known) => known.name === name)
if (subject?.kind !== 'actor') throw new Error(`there is no model of an actor ${name}`)
const { count, verdict } = judging(await subject.models(), perMutant)
const port = parentPort
const say = (news: MutantNews): void => port?.postMessage(news)
port?.on('message', (index: number) => say({ index, verdict: verdict(index) }))
say({ count })
