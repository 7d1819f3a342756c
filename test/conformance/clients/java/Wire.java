import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What the operations share: records to and from JSON, and consumers. */
final class Wire {
    private Wire() {}

    static ObjectNode empty() {
        return Client.JSON.createObjectNode();
    }

    static byte[] bytes(JsonNode field) throws java.io.IOException {
        return field == null || field.isNull() ? null : field.binaryValue();
    }

    static List<String> strings(JsonNode list) {
        List<String> out = new ArrayList<>();
        list.forEach(one -> out.add(one.asText()));
        return out;
    }

    static List<String> topics(JsonNode r) {
        return r.hasNonNull("topic") && !r.get("topic").asText().isEmpty() ? List.of(r.get("topic").asText()) : strings(r.get("topics"));
    }

    static Duration limit(JsonNode r) {
        return Duration.ofSeconds(r.get("seconds").asLong());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String group) {
        return consumer(bootstrap, group, "read_uncommitted");
    }

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String group, String isolation) {
        return consumer(bootstrap, group, isolation, "classic");
    }

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String group, String isolation, String protocol) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("key.deserializer", ByteArrayDeserializer.class.getName());
        config.put("value.deserializer", ByteArrayDeserializer.class.getName());
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("fetch.max.wait.ms", "100");
        config.put("max.poll.records", "5000");
        config.put("isolation.level", isolation);
        if (group != null) {
            config.put("group.id", group);
            config.put("group.protocol", protocol);
            if (protocol.equals("classic")) { // otherwise these are the coordinator's to say
                config.put("heartbeat.interval.ms", "300");
                config.put("session.timeout.ms", "10000");
            }
        }
        return new KafkaConsumer<>(config);
    }

    static ObjectNode record(ConsumerRecord<byte[], byte[]> in) {
        ObjectNode out = empty();
        out.put("topic", in.topic()).put("partition", in.partition()).put("offset", in.offset()).put("timestamp", in.timestamp());
        out.put("key", in.key()).put("value", in.value());
        ArrayNode headers = out.putArray("headers");
        for (Header header : in.headers()) {
            headers.addObject().put("name", header.key()).put("value", header.value());
        }
        return out;
    }

    /** What to do with each record that is read. */
    interface Each {
        void take(ConsumerRecord<byte[], byte[]> record) throws Exception;
    }

    /** Polls until count records came; records of the last poll beyond count are left unread. */
    static void read(KafkaConsumer<byte[], byte[]> consumer, JsonNode r, Each each) throws Exception {
        long end = System.nanoTime() + limit(r).toNanos();
        int left = r.get("count").asInt();
        while (left > 0) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                if (left > 0) {
                    each.take(record);
                    left--;
                }
            }
            if (System.nanoTime() > end) {
                throw new java.util.concurrent.TimeoutException(left + " records did not come");
            }
        }
    }
}
