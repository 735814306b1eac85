/** A thread that checks one model. */
import { parentPort, workerData } from 'node:worker_threads'
import { subjects } from '../checker/subjects.ts'
import { checkOne } from './check.ts'
import type { CheckNews, CheckTask } from './check-threads.ts'

const { name, options } = workerData as CheckTask
const subject = subjects().find((known) => known.name === name)
if (!subject) throw new Error(`there is no model of ${name}`)
const port = parentPort
const say = (news: CheckNews): void => port?.postMessage(news)
let text = ''
const failed = await checkOne(subject, { ...options, out: (part) => (text += part), progress: (progress) => say({ progress }) })
say({ text, failed })
