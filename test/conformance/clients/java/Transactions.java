import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Operations on transactions. */
final class Transactions {
    private final String bootstrap;
    private final Admin admin;
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();

    Transactions(String bootstrap) {
        this.bootstrap = bootstrap;
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    void register(Map<String, Client.Operation> operations) {
        operations.put("txn_open", this::open);
        operations.put("txn_begin", this::begin);
        operations.put("txn_send", r -> Records.send(producer(r), r));
        operations.put("txn_end", this::end);
        operations.put("txn_close", this::close);
        operations.put("txn_transform", this::transform);
        operations.put("describe_transaction", this::describe);
        operations.put("list_transactions", this::list);
        operations.put("describe_producers", this::describeProducers);
        operations.put("abort_transaction", this::abort);
    }

    private KafkaProducer<byte[], byte[]> producer(JsonNode r) {
        return producers.get(r.get("producer").asText());
    }

    private KafkaProducer<byte[], byte[]> transactional(JsonNode r) {
        Properties config = Records.producerConfig(bootstrap, r);
        config.put("transactional.id", r.get("id").asText());
        config.put("transaction.timeout.ms", r.get("timeout_ms").asText());
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config);
        try {
            producer.initTransactions();
        } catch (RuntimeException e) {
            producer.close(Duration.ZERO);
            throw e;
        }
        return producer;
    }

    private ObjectNode open(JsonNode r) {
        producers.put(r.get("producer").asText(), transactional(r));
        return Wire.empty();
    }

    private ObjectNode begin(JsonNode r) {
        producer(r).beginTransaction();
        return Wire.empty();
    }

    private ObjectNode end(JsonNode r) {
        end(producer(r), r);
        return Wire.empty();
    }

    private static void end(KafkaProducer<byte[], byte[]> producer, JsonNode r) {
        if (r.get("commit").asBoolean()) {
            producer.commitTransaction();
        } else {
            producer.abortTransaction();
        }
    }

    private ObjectNode close(JsonNode r) {
        producers.remove(r.get("producer").asText()).close(Duration.ZERO);
        return Wire.empty();
    }

    private ObjectNode transform(JsonNode r) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = transactional(r);
                KafkaConsumer<byte[], byte[]> consumer = Wire.consumer(bootstrap, r.get("group").asText(), "read_committed")) {
            consumer.subscribe(Wire.topics(r));
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> position = new HashMap<>();
            String to = Wire.strings(r.get("topics")).get(0);
            Wire.read(consumer, r, record -> {
                byte[] value = ("seen " + new String(record.value(), StandardCharsets.ISO_8859_1)).getBytes(StandardCharsets.ISO_8859_1);
                producer.send(new ProducerRecord<>(to, 0, record.key(), value));
                position.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            });
            producer.flush(); // an abort drops what was not sent yet
            producer.sendOffsetsToTransaction(position, consumer.groupMetadata());
            end(producer, r);
            return Wire.empty().put("count", r.get("count").asInt());
        }
    }

    private ObjectNode describe(JsonNode r) throws Exception {
        String id = r.get("id").asText();
        TransactionDescription found = admin.describeTransactions(List.of(id)).all().get().get(id);
        return Wire.empty().put("state", found.state().toString())
                .put("epoch", found.producerEpoch()).put("timeout_ms", found.transactionTimeoutMs());
    }

    private ObjectNode list(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ObjectNode states = out.putObject("states");
        admin.listTransactions().all().get().forEach(one -> states.put(one.transactionalId(), one.state().toString()));
        return out;
    }

    private List<ProducerState> producersOf(TopicPartition partition) throws Exception {
        return admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
    }

    private ObjectNode describeProducers(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ArrayNode found = out.putArray("producers");
        for (ProducerState one : producersOf(Topics.partition(r))) {
            found.addObject().put("epoch", one.producerEpoch()).put("sequence", one.lastSequence())
                    .put("start", one.currentTransactionStartOffset().orElse(-1));
        }
        return out;
    }

    /** Aborts, at one partition, the transaction that began at an offset. */
    private ObjectNode abort(JsonNode r) throws Exception {
        TopicPartition partition = Topics.partition(r);
        for (ProducerState one : producersOf(partition)) {
            if (one.currentTransactionStartOffset().orElse(-1) == r.get("before").asLong()) {
                admin.abortTransaction(new AbortTransactionSpec(partition, one.producerId(), (short) one.producerEpoch(),
                        one.coordinatorEpoch().orElse(0))).all().get();
                return Wire.empty();
            }
        }
        throw new IllegalStateException("no transaction began there");
    }
}
