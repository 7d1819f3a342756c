import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Operations on topics and the log's bounds, by the admin client. */
final class Topics {
    private final Admin admin;

    Topics(String bootstrap) {
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    void register(Map<String, Client.Operation> operations) {
        operations.put("create_topic", this::createTopic);
        operations.put("delete_topic", this::deleteTopic);
        operations.put("list_topics", this::listTopics);
        operations.put("describe_topic", this::describeTopic);
        operations.put("create_partitions", this::createPartitions);
        operations.put("describe_configs", this::describeConfigs);
        operations.put("alter_configs", this::alterConfigs);
        operations.put("list_offsets", this::listOffsets);
        operations.put("offset_for_time", this::offsetForTime);
        operations.put("delete_records", this::deleteRecords);
    }

    private ObjectNode createTopic(JsonNode r) throws Exception {
        Map<String, String> configs = new HashMap<>();
        r.path("configs").properties().forEach(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        NewTopic topic = new NewTopic(r.get("topic").asText(), Optional.of(r.get("partitions").asInt()), Optional.empty());
        admin.createTopics(List.of(topic.configs(configs))).all().get();
        return Wire.empty();
    }

    private ObjectNode deleteTopic(JsonNode r) throws Exception {
        admin.deleteTopics(List.of(r.get("topic").asText())).all().get();
        return Wire.empty();
    }

    private ObjectNode listTopics(JsonNode r) throws Exception {
        ObjectNode out = Wire.empty();
        ArrayNode names = out.putArray("names");
        new TreeSet<>(admin.listTopics().names().get()).forEach(names::add);
        return out;
    }

    private ObjectNode describeTopic(JsonNode r) throws Exception {
        String name = r.get("topic").asText();
        TopicDescription found = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        long led = found.partitions().stream().filter(one -> one.leader() != null && !one.leader().isEmpty()).count();
        return Wire.empty().put("partitions", found.partitions().size()).put("led", led);
    }

    private ObjectNode createPartitions(JsonNode r) throws Exception {
        admin.createPartitions(Map.of(r.get("topic").asText(), NewPartitions.increaseTo(r.get("partitions").asInt()))).all().get();
        return Wire.empty();
    }

    private ObjectNode describeConfigs(JsonNode r) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, r.get("topic").asText());
        Config found = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        ObjectNode out = Wire.empty();
        ObjectNode configs = out.putObject("configs");
        for (String name : Wire.strings(r.get("names"))) {
            ConfigEntry entry = found.get(name);
            if (entry != null) {
                configs.put(name, entry.value());
            }
        }
        return out;
    }

    private ObjectNode alterConfigs(JsonNode r) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        r.get("configs").properties().forEach(entry -> changes.add(
                new AlterConfigOp(new ConfigEntry(entry.getKey(), entry.getValue().asText()), AlterConfigOp.OpType.SET)));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, r.get("topic").asText());
        admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
        return Wire.empty();
    }

    static TopicPartition partition(JsonNode r) {
        return new TopicPartition(r.get("topic").asText(), r.get("partition").asInt());
    }

    private long offset(JsonNode r, OffsetSpec spec) throws Exception {
        boolean committed = r.path("isolation").asText().equals("read_committed");
        ListOffsetsOptions options = new ListOffsetsOptions(committed ? IsolationLevel.READ_COMMITTED : IsolationLevel.READ_UNCOMMITTED);
        return admin.listOffsets(Map.of(partition(r), spec), options).partitionResult(partition(r)).get().offset();
    }

    private ObjectNode listOffsets(JsonNode r) throws Exception {
        return Wire.empty().put("earliest", offset(r, OffsetSpec.earliest())).put("latest", offset(r, OffsetSpec.latest()));
    }

    private ObjectNode offsetForTime(JsonNode r) throws Exception {
        return Wire.empty().put("offset", offset(r, OffsetSpec.forTimestamp(r.get("timestamp").asLong())));
    }

    private ObjectNode deleteRecords(JsonNode r) throws Exception {
        TopicPartition partition = partition(r);
        long low = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(r.get("before").asLong())))
                .lowWatermarks().get(partition).get().lowWatermark();
        return Wire.empty().put("offset", low);
    }
}
