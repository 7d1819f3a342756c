import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Obeys commands from standard input, one a line, words with blanks between; answers each with one line. */
public final class Share {
    private static final Map<String, KafkaShareConsumer<byte[], byte[]>> consumers = new HashMap<>();
    private static final Map<String, Map<TopicPartition, Map<Long, ConsumerRecord<byte[], byte[]>>>> held = new HashMap<>();
    private static String bootstrap;
    private static Admin admin;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] w = line.trim().split(" ");
            String answer;
            try {
                answer = obey(w);
            } catch (Throwable e) {
                Throwable cause = e instanceof java.util.concurrent.ExecutionException ? e.getCause() : e;
                answer = "error " + cause.getClass().getSimpleName() + " " + cause.getMessage();
            }
            System.out.println(answer.replace('\n', ' '));
            System.out.flush();
        }
        for (KafkaShareConsumer<byte[], byte[]> c : consumers.values()) {
            c.close(Duration.ofSeconds(5));
        }
        admin.close(Duration.ofSeconds(5));
    }

    private static String obey(String[] w) throws Exception {
        switch (w[0]) {
            case "config":
                admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, w[1]),
                    List.of(new AlterConfigOp(new ConfigEntry(w[2], w[3]), AlterConfigOp.OpType.SET)))).all().get();
                return "ok";
            case "open":
                return open(w[1], w[2], w[3], w[4], Arrays.copyOfRange(w, 5, w.length));
            case "poll":
                return poll(w[1], Long.parseLong(w[2]));
            case "ack":
                return acknowledge(w[1], Integer.parseInt(w[2]), Long.parseLong(w[3]), Long.parseLong(w[4]), AcknowledgeType.valueOf(w[5]));
            case "commit":
                return commit(w[1]);
            case "close":
                consumers.remove(w[1]).close();
                held.remove(w[1]);
                return "ok";
            case "offsets":
                return admin.listShareGroupOffsets(Map.of(w[1], new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(w[1]).get()
                    .entrySet().stream().sorted(Comparator.comparing(e -> e.getKey().toString()))
                    .map(e -> e.getKey() + "=" + (e.getValue() == null ? "null" : e.getValue().startOffset() + "/"
                        + e.getValue().lag().map(String::valueOf).orElse("-"))).collect(Collectors.joining(" "));
            case "alter":
                admin.alterShareGroupOffsets(w[1], Map.of(new TopicPartition(w[2], Integer.parseInt(w[3])), Long.parseLong(w[4]))).all().get();
                return "ok";
            case "delete-offsets":
                admin.deleteShareGroupOffsets(w[1], Set.of(w[2])).all().get();
                return "ok";
            case "delete-group":
                admin.deleteShareGroups(List.of(w[1])).all().get();
                return "ok";
            case "describe": {
                ShareGroupDescription d = admin.describeShareGroups(List.of(w[1])).all().get().get(w[1]);
                return d.groupState() + " " + d.members().size() + " " + d.members().stream()
                    .mapToInt(m -> m.assignment().topicPartitions().size()).sum();
            }
            case "list":
                return admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.SHARE))).all().get().stream()
                    .map(g -> g.groupId() + "=" + g.type().get() + "/" + g.groupState().get()).sorted().collect(Collectors.joining(" "));
            default:
                throw new IllegalArgumentException(w[0]);
        }
    }

    private static String open(String name, String group, String topic, String mode, String[] more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", group,
            "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class,
            "share.acknowledgement.mode", mode));
        for (String one : more) {
            String[] kv = one.split("=", 2);
            config.put(kv[0], kv[1]);
        }
        KafkaShareConsumer<byte[], byte[]> c = new KafkaShareConsumer<>(config);
        c.subscribe(List.of(topic));
        consumers.put(name, c);
        held.put(name, new HashMap<>());
        return "ok";
    }

    /** Polls until there are records or the time is up: partition:offset:deliveries, of all that came at once. */
    private static String poll(String name, long ms) {
        long until = System.currentTimeMillis() + ms;
        while (true) {
            ConsumerRecords<byte[], byte[]> got = consumers.get(name).poll(Duration.ofMillis(Math.max(1, Math.min(500, until - System.currentTimeMillis()))));
            held.get(name).clear();
            if (!got.isEmpty() || System.currentTimeMillis() >= until) {
                StringBuilder out = new StringBuilder("records");
                for (ConsumerRecord<byte[], byte[]> r : got) {
                    out.append(' ').append(r.partition()).append(':').append(r.offset()).append(':').append(r.deliveryCount().get());
                    held.get(name).computeIfAbsent(new TopicPartition(r.topic(), r.partition()), k -> new TreeMap<>()).put(r.offset(), r);
                }
                return out.toString();
            }
        }
    }

    private static String acknowledge(String name, int partition, long first, long last, AcknowledgeType type) {
        held.get(name).forEach((tp, records) -> {
            if (tp.partition() != partition) {
                return;
            }
            for (long offset = first; offset <= last; offset++) {
                if (records.containsKey(offset)) {
                    consumers.get(name).acknowledge(records.get(offset), type);
                    records.remove(offset);
                }
            }
        });
        return "ok";
    }

    private static String commit(String name) {
        StringBuilder out = new StringBuilder("committed");
        consumers.get(name).commitSync(Duration.ofSeconds(20)).forEach((tp, error) ->
            out.append(' ').append(tp.partition()).append('=').append(error.map(e -> e.getClass().getSimpleName()).orElse("ok")));
        return out.toString();
    }
}
