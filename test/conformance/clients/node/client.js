// Drives kafkajs by the line protocol of test/conformance (see ../README.md).
//
// Usage: node client.js BOOTSTRAP, with NODE_PATH set to the folder that holds kafkajs and its codecs.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const readline = require('node:readline')
const {
  Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel,
} = require('kafkajs')
const lz4 = require('lz4-napi')
const zstd = require('@mongodb-js/zstd')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder) => zstd.compress(encoder.buffer, 3),
  decompress: (buffer) => zstd.decompress(buffer),
})

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
const LOCAL_ERROR = -1000

const kafka = new Kafka({
  clientId: 'kafkajs', brokers: [process.argv[2]], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 8 },
})
const admin = kafka.admin({ retry: { initialRetryTime: 50, retries: 2 } })
const members = new Map() // name -> { consumer, assigned }
const producers = new Map() // name -> { producer, transaction }

const decode = (text) => (text === null ? null : Buffer.from(text, 'base64'))
const encode = (data) => (data === null || data === undefined ? null : Buffer.from(data).toString('base64'))
const topicsOf = (r) => (r.topic ? [r.topic] : r.topics)

function headersOf(record) {
  const headers = {}
  for (const { name, value } of record.headers || []) headers[name] = decode(value)
  return headers
}

function answer(topic, partition, message) {
  return {
    topic,
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: encode(message.key),
    value: encode(message.value),
    headers: Object.entries(message.headers || {}).map(([name, value]) => ({ name, value: encode(value) })),
  }
}

// group starts a consumer of the topics and calls each with every record, in turn, until count came; then it gives the
// offsets to end, which commits them unless it is told otherwise, leaves and returns.
async function group(r, groupId, each, end = (consumer, offsets) => consumer.commitOffsets(offsets)) {
  const consumer = kafka.consumer({
    groupId,
    maxWaitTimeInMs: 100,
    heartbeatInterval: 300,
    sessionTimeout: 10000,
    readUncommitted: r.isolation === 'read_uncommitted',
  })
  const positions = new Map()
  let left = r.count
  let timer
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: topicsOf(r), fromBeginning: true })
    await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`${left} records did not come`)), r.seconds * 1000)
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      consumer.run({
        autoCommit: false,
        eachBatch: async ({ batch, heartbeat }) => {
          for (const message of batch.messages) {
            if (left === 0) return
            each(batch.topic, batch.partition, message)
            positions.set(`${batch.partition} ${batch.topic}`, Number(message.offset) + 1)
            left -= 1
            if (left === 0) resolve()
          }
          await heartbeat()
        },
      }).catch(reject)
    })
    await end(consumer, [...positions].map(([where, offset]) => {
      const [partition, topic] = where.split(' ')
      return { topic, partition: Number(partition), offset: String(offset) }
    }))
  } finally {
    clearTimeout(timer)
    await consumer.disconnect()
  }
}

// send writes the records of a request with a producer, or in a transaction, and waits for their offsets.
async function send(producer, r) {
  const messages = r.records.map((record) => ({
    key: decode(record.key),
    value: decode(record.value),
    partition: r.partition,
    headers: headersOf(record),
    ...(record.timestamp ? { timestamp: String(record.timestamp) } : {}),
  }))
  const [done] = await producer.send({ topic: r.topic, acks: -1, compression: CODECS[r.compression || 'none'], messages })
  return { offsets: messages.map((_, index) => Number(done.baseOffset) + index) }
}

async function transactional(r) {
  const producer = kafka.producer({
    transactionalId: r.id,
    transactionTimeout: r.timeout_ms,
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
  })
  await producer.connect()
  return producer
}

const operations = {
  async create_topic(r) {
    const configEntries = Object.entries(r.configs || {}).map(([name, value]) => ({ name, value }))
    const topic = { topic: r.topic, numPartitions: r.partitions, replicationFactor: 1, configEntries }
    if (!(await admin.createTopics({ topics: [topic], waitForLeaders: true }))) {
      throw Object.assign(new Error('the topic exists'), { code: 36 }) // kafkajs answers false for TOPIC_ALREADY_EXISTS alone
    }
  },
  async delete_topic(r) {
    await admin.deleteTopics({ topics: [r.topic] })
  },
  async list_topics() {
    return { names: (await admin.listTopics()).sort() }
  },
  async describe_topic(r) {
    const { topics } = await admin.fetchTopicMetadata({ topics: [r.topic] })
    const { partitions } = topics[0]
    return { partitions: partitions.length, led: partitions.filter((one) => one.leader >= 0).length }
  },
  async create_partitions(r) {
    await admin.createPartitions({ topicPartitions: [{ topic: r.topic, count: r.partitions }] })
  },
  async describe_configs(r) {
    const asked = { type: ConfigResourceTypes.TOPIC, name: r.topic, configNames: r.names }
    const { resources } = await admin.describeConfigs({ resources: [asked], includeSynonyms: false })
    const configs = {}
    for (const { configName, configValue } of resources[0].configEntries) configs[configName] = configValue
    return { configs }
  },
  async alter_configs(r) {
    const configEntries = Object.entries(r.configs).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: r.topic, configEntries }] })
  },

  async produce(r) {
    const producer = kafka.producer({ idempotent: Boolean(r.idempotent), allowAutoTopicCreation: false })
    await producer.connect()
    try {
      return await send(producer, r)
    } finally {
      await producer.disconnect()
    }
  },
  async produce_lines(r) {
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false })
    await producer.connect()
    const compression = CODECS[r.compression || 'none']
    let messages = []
    let count = 0
    try {
      for await (const line of readline.createInterface({ input: fs.createReadStream(r.file) })) {
        const tab = line.indexOf('\t')
        messages.push({ key: line.slice(0, tab), value: line.slice(tab + 1) })
        count += 1
        if (messages.length === 10000) {
          await producer.send({ topic: r.topic, acks: -1, compression, messages })
          messages = []
        }
      }
      if (messages.length) await producer.send({ topic: r.topic, acks: -1, compression, messages })
      return { count }
    } finally {
      await producer.disconnect()
    }
  },
  async consume(r) {
    // kafkajs reads only as a member of a group.
    const records = []
    const groupId = `kafkajs-consume-${crypto.randomUUID()}`
    await group(r, groupId, (topic, partition, message) => records.push(answer(topic, partition, message)))
    await admin.deleteGroups([groupId])
    return { records }
  },
  async list_offsets(r) {
    const found = (await admin.fetchTopicOffsets(r.topic)).find((one) => one.partition === r.partition)
    return { earliest: Number(found.low), latest: Number(found.high) }
  },
  async offset_for_time(r) {
    // kafkajs puts the end offset in place of -1; the two are told apart only by asking for the end as well.
    const found = (await admin.fetchTopicOffsetsByTimestamp(r.topic, r.timestamp)).find((one) => one.partition === r.partition)
    const { latest } = await operations.list_offsets(r)
    return { offset: Number(found.offset) === latest ? -1 : Number(found.offset) }
  },
  async delete_records(r) {
    await admin.deleteTopicRecords({ topic: r.topic, partitions: [{ partition: r.partition, offset: String(r.before) }] })
    return { offset: (await operations.list_offsets(r)).earliest }
  },

  async group_read(r) {
    const records = []
    await group(r, r.group, (topic, partition, message) => records.push(answer(topic, partition, message)))
    return { records }
  },
  async digest_group(r) {
    const topics = {}
    await group(r, r.group, (topic, _, message) => {
      const keys = (topics[topic] ??= {})
      const entry = (keys[message.key.toString()] ??= { count: 0, sum: crypto.createHash('sha256') })
      entry.count += 1
      entry.sum.update(message.value)
      entry.sum.update('\n')
    })
    for (const keys of Object.values(topics)) {
      for (const [key, { count, sum }] of Object.entries(keys)) keys[key] = { count, hash: sum.digest('hex') }
    }
    return { topics }
  },
  async committed(r) {
    const found = await admin.fetchOffsets({ groupId: r.group, topics: [r.topic] })
    const offsets = {}
    for (const { partition, offset } of found[0].partitions) if (Number(offset) >= 0) offsets[partition] = Number(offset)
    return { offsets }
  },
  async list_groups() {
    return { names: (await admin.listGroups()).groups.map((one) => one.groupId).sort() }
  },
  async describe_group(r) {
    const { groups } = await admin.describeGroups([r.group])
    return { state: groups[0].state, members: groups[0].members.length }
  },
  async delete_group(r) {
    await admin.deleteGroups([r.group])
  },

  // The producer is initialised by its first transaction, not when it connects; each message is compressed as its request says.
  async txn_open(r) {
    producers.set(r.producer, { producer: await transactional(r), compression: r.compression })
  },
  async txn_begin(r) {
    const one = producers.get(r.producer)
    one.transaction = await one.producer.transaction()
  },
  async txn_send(r) {
    const { transaction, compression } = producers.get(r.producer)
    return send(transaction, { ...r, compression })
  },
  async txn_end(r) {
    const { transaction } = producers.get(r.producer)
    await (r.commit ? transaction.commit() : transaction.abort())
  },
  async txn_close(r) {
    await producers.get(r.producer).producer.disconnect()
    producers.delete(r.producer)
  },
  async txn_transform(r) {
    const producer = await transactional(r)
    try {
      const messages = []
      const take = (_, __, { key, value }) => messages.push({ key, value: Buffer.concat([Buffer.from('seen '), value]), partition: 0 })
      await group(r, r.group, take, async (_, offsets) => {
        const transaction = await producer.transaction()
        await transaction.send({ topic: r.topics[0], acks: -1, messages })
        const partitions = offsets.map(({ partition, offset }) => ({ partition, offset }))
        await transaction.sendOffsets({ consumerGroupId: r.group, topics: [{ topic: r.topic, partitions }] })
        await (r.commit ? transaction.commit() : transaction.abort())
      })
      return { count: messages.length }
    } finally {
      await producer.disconnect()
    }
  },

  async member_open(r) {
    const consumer = kafka.consumer({ groupId: r.group, maxWaitTimeInMs: 100, heartbeatInterval: 300, sessionTimeout: 10000 })
    const member = { consumer, assigned: [] }
    members.set(r.member, member)
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { member.assigned = payload.memberAssignment[r.topic] || [] })
    consumer.on(consumer.events.REBALANCING, () => { member.assigned = [] })
    consumer.on(consumer.events.CRASH, ({ payload }) => { if (!payload.restart) member.failed = payload.error })
    await consumer.connect()
    await consumer.subscribe({ topics: [r.topic], fromBeginning: true })
    await consumer.run({ autoCommit: false, eachMessage: async () => {} })
  },
  async member_state() {
    const assignments = {}
    for (const [name, member] of members) {
      if (member.failed) throw member.failed
      assignments[name] = [...member.assigned].sort((a, b) => a - b)
    }
    return { assignments }
  },
  async member_close(r) {
    const { consumer } = members.get(r.member)
    members.delete(r.member)
    await consumer.disconnect()
  },
}

// code finds Kafka's error number: kafkajs wraps errors in errors, and lists of errors.
function code(error) {
  for (let one = error; one; one = one.cause || one.originalError || (one.errors && one.errors[0]) || (one.groups && one.groups[0])) {
    if (typeof one.code === 'number' && one.code > 0) return one.code
    if (typeof one.errorCode === 'number' && one.errorCode > 0) return one.errorCode
  }
  return LOCAL_ERROR
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

async function main() {
  await admin.connect()
  say({
    client: 'kafkajs',
    version: require('kafkajs/package.json').version,
    operations: Object.keys(operations),
    codecs: Object.keys(CODECS),
    features: ['partition', 'timestamp', 'headers', 'null_key', 'null_value', 'reads_null', 'idempotence', 'read_committed'],
  })
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const r = JSON.parse(line)
    try {
      say({ result: (await operations[r.op](r)) || {} })
    } catch (error) {
      say({ error: { code: code(error), kind: error.name, message: `${error.name}: ${error.message}` } })
    }
  }
  process.exit(0)
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
