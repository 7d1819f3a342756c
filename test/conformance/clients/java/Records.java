import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Operations that produce, and that read partitions without a group. */
final class Records {
    private final String bootstrap;

    Records(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void register(Map<String, Client.Operation> operations) {
        operations.put("produce", this::produce);
        operations.put("consume", this::consume);
    }

    private ObjectNode produce(JsonNode r) throws Exception {
        Properties config = producerConfig(bootstrap, r);
        config.put("enable.idempotence", r.path("idempotent").asBoolean());
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config)) {
            return send(producer, r);
        }
    }

    static Properties producerConfig(String bootstrap, JsonNode r) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("key.serializer", ByteArraySerializer.class.getName());
        config.put("value.serializer", ByteArraySerializer.class.getName());
        config.put("compression.type", r.path("compression").asText("none"));
        config.put("acks", "all");
        config.put("linger.ms", "5");
        config.put("request.timeout.ms", "15000");
        config.put("delivery.timeout.ms", "30000");
        return config;
    }

    /** Writes the records of a request and waits for their offsets. */
    static ObjectNode send(KafkaProducer<byte[], byte[]> producer, JsonNode r) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode one : r.get("records")) {
            long timestamp = one.get("timestamp").asLong();
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(r.get("topic").asText(), r.get("partition").asInt(),
                    timestamp > 0 ? timestamp : null, Wire.bytes(one.get("key")), Wire.bytes(one.get("value")));
            for (JsonNode header : one.path("headers")) {
                record.headers().add(header.get("name").asText(), Wire.bytes(header.get("value")));
            }
            sent.add(producer.send(record));
        }
        producer.flush();
        ObjectNode out = Wire.empty();
        ArrayNode offsets = out.putArray("offsets");
        for (Future<RecordMetadata> one : sent) {
            offsets.add(one.get().offset());
        }
        return out;
    }

    private ObjectNode consume(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ArrayNode records = out.putArray("records");
        try (KafkaConsumer<byte[], byte[]> consumer = Wire.consumer(bootstrap, null, r.path("isolation").asText("read_uncommitted"))) {
            List<TopicPartition> wanted = new ArrayList<>();
            for (String topic : Wire.strings(r.get("topics"))) {
                consumer.partitionsFor(topic).forEach(one -> wanted.add(new TopicPartition(topic, one.partition())));
            }
            consumer.assign(wanted);
            consumer.seekToBeginning(wanted);
            Wire.read(consumer, r, record -> records.add(Wire.record(record)));
        }
        return out;
    }
}
