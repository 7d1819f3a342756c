import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Operations on share groups. */
final class Shares {
    private final String bootstrap;
    private final Map<String, KafkaShareConsumer<byte[], byte[]>> members = new HashMap<>();

    Shares(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void register(Map<String, Client.Operation> operations) {
        operations.put("share_open", this::open);
        operations.put("share_read", this::read);
        operations.put("share_close", this::close);
    }

    private ObjectNode open(JsonNode r) {
        KafkaShareConsumer<byte[], byte[]> member = new KafkaShareConsumer<>(
            Map.of("bootstrap.servers", bootstrap, "group.id", r.get("group").asText(), "share.acknowledgement.mode", "explicit"),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
        member.subscribe(List.of(r.get("topic").asText()));
        members.put(r.get("member").asText(), member);
        return Wire.empty();
    }

    private ObjectNode read(JsonNode r) throws Exception {
        KafkaShareConsumer<byte[], byte[]> member = members.get(r.get("member").asText());
        boolean hold = r.get("hold").asBoolean();
        long end = System.nanoTime() + Wire.limit(r).toNanos();
        ObjectNode out = Wire.empty();
        ArrayNode deliveries = out.putArray("deliveries");
        while (deliveries.size() < r.get("count").asInt()) {
            ConsumerRecords<byte[], byte[]> got = member.poll(Duration.ofMillis(200));
            for (ConsumerRecord<byte[], byte[]> record : got) {
                deliveries.addObject().put("offset", record.offset()).put("count", record.deliveryCount().get());
                if (!hold) {
                    member.acknowledge(record, verdict(r, record));
                }
            }
            if (!hold && !got.isEmpty()) {
                for (Optional<KafkaException> failed : member.commitSync(Wire.limit(r)).values()) {
                    if (failed.isPresent()) {
                        throw failed.get();
                    }
                }
            }
            if (System.nanoTime() > end) {
                throw new java.util.concurrent.TimeoutException(deliveries.size() + " deliveries have come");
            }
        }
        return out;
    }

    private static AcknowledgeType verdict(JsonNode r, ConsumerRecord<byte[], byte[]> record) {
        if (has(r.get("release"), record.offset()) && record.deliveryCount().get() == 1) {
            return AcknowledgeType.RELEASE;
        }
        return has(r.get("reject"), record.offset()) ? AcknowledgeType.REJECT : AcknowledgeType.ACCEPT;
    }

    private static boolean has(JsonNode offsets, long offset) {
        if (offsets != null) {
            for (JsonNode one : offsets) {
                if (one.asLong() == offset) {
                    return true;
                }
            }
        }
        return false;
    }

    private ObjectNode close(JsonNode r) {
        members.remove(r.get("member").asText()).close();
        return Wire.empty();
    }
}
