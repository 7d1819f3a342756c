import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Operations on consumer groups. */
final class Groups {
    private final String bootstrap;
    private final Admin admin;
    private final Map<String, Member> members = new ConcurrentHashMap<>();

    Groups(String bootstrap) {
        this.bootstrap = bootstrap;
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    void register(Map<String, Client.Operation> operations) {
        operations.put("group_read", this::groupRead);
        operations.put("digest_group", this::digestGroup);
        operations.put("committed", this::committed);
        operations.put("list_groups", this::listGroups);
        operations.put("describe_group", this::describeGroup);
        operations.put("delete_group", this::deleteGroup);
        operations.put("member_open", this::memberOpen);
        operations.put("member_state", this::memberState);
        operations.put("member_close", this::memberClose);
    }

    /** Reads count records as a member of the group, commits exactly those, and leaves. */
    private void readGroup(JsonNode r, Wire.Each each) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = Wire.consumer(bootstrap, r.get("group").asText())) {
            consumer.subscribe(Wire.topics(r));
            Map<TopicPartition, OffsetAndMetadata> position = new HashMap<>();
            Wire.read(consumer, r, record -> {
                each.take(record);
                position.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            });
            consumer.commitSync(position);
        }
    }

    private ObjectNode groupRead(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ArrayNode records = out.putArray("records");
        readGroup(r, record -> records.add(Wire.record(record)));
        return out;
    }

    private static final class Digest {
        int count;
        final MessageDigest sum;

        Digest() throws Exception {
            sum = MessageDigest.getInstance("SHA-256");
        }

        void take(byte[] value) {
            count++;
            sum.update(value);
            sum.update((byte) '\n');
        }
    }

    private ObjectNode digestGroup(JsonNode r) throws Exception {
        Map<String, Map<String, Digest>> topics = new TreeMap<>();
        readGroup(r, (ConsumerRecord<byte[], byte[]> record) -> {
            Map<String, Digest> keys = topics.computeIfAbsent(record.topic(), topic -> new TreeMap<>());
            String key = new String(record.key(), java.nio.charset.StandardCharsets.UTF_8);
            if (!keys.containsKey(key)) {
                keys.put(key, new Digest());
            }
            keys.get(key).take(record.value());
        });
        ObjectNode out = Wire.empty();
        ObjectNode found = out.putObject("topics");
        topics.forEach((topic, keys) -> {
            ObjectNode entries = found.putObject(topic);
            keys.forEach((key, digest) -> entries.putObject(key)
                    .put("count", digest.count).put("hash", java.util.HexFormat.of().formatHex(digest.sum.digest())));
        });
        return out;
    }

    private ObjectNode committed(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ObjectNode offsets = out.putObject("offsets");
        admin.listConsumerGroupOffsets(r.get("group").asText()).partitionsToOffsetAndMetadata().get().forEach((where, at) -> {
            if (where.topic().equals(r.get("topic").asText()) && at != null) {
                offsets.put(String.valueOf(where.partition()), at.offset());
            }
        });
        return out;
    }

    private ObjectNode listGroups(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ArrayNode names = out.putArray("names");
        TreeSet<String> found = new TreeSet<>();
        admin.listGroups().all().get().forEach(one -> found.add(one.groupId()));
        found.forEach(names::add);
        return out;
    }

    private ObjectNode describeGroup(JsonNode r) throws Exception {
        String name = r.get("group").asText();
        ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(name)).all().get().get(name);
        return Wire.empty().put("state", found.groupState().toString()).put("members", found.members().size());
    }

    private ObjectNode deleteGroup(JsonNode r) throws Exception {
        admin.deleteConsumerGroups(List.of(r.get("group").asText())).all().get();
        return Wire.empty();
    }

    /** An open member of a group, polling in a thread of its own. */
    private static final class Member implements ConsumerRebalanceListener {
        private final TreeSet<Integer> assigned = new TreeSet<>();
        private volatile boolean stopped;
        private volatile Exception failed; // what ended it; null while nothing has
        private Thread thread;

        @Override
        public synchronized void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            partitions.forEach(one -> assigned.add(one.partition()));
        }

        @Override
        public synchronized void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(one -> assigned.remove(one.partition()));
        }

        synchronized void describe(ArrayNode out) {
            assigned.forEach(out::add);
        }

        void check() throws Exception {
            if (failed != null) {
                throw failed;
            }
        }
    }

    private ObjectNode memberOpen(JsonNode r) {
        Member member = new Member();
        member.thread = new Thread(() -> {
            String protocol = r.path("protocol").asText("classic");
            try (KafkaConsumer<byte[], byte[]> consumer =
                    Wire.consumer(bootstrap, r.get("group").asText(), "read_uncommitted", protocol)) {
                consumer.subscribe(List.of(r.get("topic").asText()), member);
                while (!member.stopped) {
                    consumer.poll(Duration.ofMillis(50));
                }
            } catch (RuntimeException e) {
                member.failed = e;
            }
        });
        member.thread.setDaemon(true);
        member.thread.start();
        members.put(r.get("member").asText(), member);
        return Wire.empty();
    }

    private ObjectNode memberState(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ObjectNode assignments = out.putObject("assignments");
        for (Map.Entry<String, Member> one : members.entrySet()) {
            one.getValue().check();
            one.getValue().describe(assignments.putArray(one.getKey()));
        }
        return out;
    }

    private ObjectNode memberClose(JsonNode r) throws Exception {
        Member member = members.remove(r.get("member").asText());
        member.stopped = true;
        member.thread.join(Wire.limit(r).toMillis());
        if (member.thread.isAlive()) {
            throw new IllegalStateException("the member does not end");
        }
        member.check();
        return Wire.empty();
    }
}
