// Logs in as each case says, with kafkajs and the JavaScript signer of AWS.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')
const { Kafka, logLevel } = require('kafkajs')
const { generateAuthTokenFromCredentialsProvider } = require('aws-msk-iam-sasl-signer-js')

function sasl (c) {
  switch (c.method) {
    case 'none':
      return undefined
    case 'scram':
      return { mechanism: 'scram-sha-512', username: c.user, password: c.password }
    case 'token':
      return { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: c.token }) }
    case 'oauth':
      return {
        mechanism: 'oauthbearer',
        oauthBearerProvider: async () => {
          const { token } = await generateAuthTokenFromCredentialsProvider({
            region: c.region,
            awsCredentialsProvider: async () => ({
              accessKeyId: c.access_key,
              secretAccessKey: c.secret_key,
              sessionToken: c.session_token || undefined,
              expiration: c.expires ? new Date(c.expires) : undefined
            })
          })
          return { value: token }
        }
      }
    default:
      throw new Error('no method ' + c.method)
  }
}

function ssl (c) {
  if (!c.ca) return undefined
  const files = { ca: [fs.readFileSync(c.ca)] }
  if (c.cert) {
    files.cert = fs.readFileSync(c.cert)
    files.key = fs.readFileSync(c.key)
  }
  return files
}

async function run (c, consumed) {
  const kafka = new Kafka({
    clientId: 'login',
    brokers: [c.bootstrap],
    ssl: ssl(c),
    sasl: sasl(c),
    logLevel: logLevel.NOTHING,
    connectionTimeout: c.timeout_ms,
    requestTimeout: c.timeout_ms,
    retry: { retries: 1, initialRetryTime: 100 }
  })
  const producer = kafka.producer()
  await producer.connect()
  try {
    await producer.send({ topic: c.topic, messages: [{ value: c.value, partition: 0 }] })
  } finally {
    await producer.disconnect()
  }
  // kafkajs reads only as a member of a group.
  const consumer = kafka.consumer({ groupId: c.group, retry: { retries: 5, initialRetryTime: 100 } })
  await consumer.connect()
  try {
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the record did not come back in time')), c.timeout_ms)
      consumer.on(consumer.events.CRASH, e => { clearTimeout(timer); reject(e.payload.error) })
      consumer.subscribe({ topics: [c.topic], fromBeginning: true }).then(() => consumer.run({
        autoCommit: false,
        eachMessage: async ({ message }) => {
          consumed.push(message.value.toString())
          if (consumed.includes(c.value)) { clearTimeout(timer); resolve() }
        }
      })).catch(e => { clearTimeout(timer); reject(e) })
    })
  } finally {
    await consumer.disconnect()
  }
}

async function main () {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const c = JSON.parse(line)
    const consumed = []
    let error = ''
    try {
      await run(c, consumed)
    } catch (e) {
      error = `${e.name}: ${e.message}`
    }
    process.stdout.write(JSON.stringify({ id: c.id, consumed, error }) + '\n')
  }
}

main()
