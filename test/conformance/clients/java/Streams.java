import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Stream;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/** A Kafka Streams application: it counts words, with a repartition topic and a changelog, at least once. */
final class Streams {
    private final String bootstrap;
    private KafkaStreams running;
    private Path state;

    Streams(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void register(Map<String, Client.Operation> operations) {
        operations.put("streams_start", this::start);
        operations.put("streams_stop", this::stop);
    }

    /** Starts the application; "topics" holds the input and the output topic, "group" the application's id. */
    private ObjectNode start(JsonNode r) throws Exception {
        state = Files.createTempDirectory("streams");
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("application.id", r.get("group").asText());
        config.put("state.dir", state.toString());
        config.put("num.stream.threads", "2");
        config.put("commit.interval.ms", "100");
        config.put("statestore.cache.max.bytes", "0"); // every update goes on: the answer does not hang on the clock
        config.put("consumer.auto.offset.reset", "earliest");
        config.put("consumer.heartbeat.interval.ms", "300");
        config.put("consumer.session.timeout.ms", "10000");
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(r.get("topics").get(0).asText(), Consumed.with(Serdes.String(), Serdes.String()))
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word, Grouped.with("words", Serdes.String(), Serdes.String()))
                .count(Materialized.as("counts"))
                .toStream()
                .mapValues(String::valueOf)
                .to(r.get("topics").get(1).asText(), Produced.with(Serdes.String(), Serdes.String()));
        running = new KafkaStreams(builder.build(), config);
        running.start();
        return Wire.empty();
    }

    /** Stops the application and forgets its local state, so that the next start restores from the changelog. */
    private ObjectNode stop(JsonNode r) throws Exception {
        boolean closed = running.close(Duration.ofSeconds(r.get("seconds").asLong()));
        try (Stream<Path> paths = Files.walk(state)) {
            for (Path path : (Iterable<Path>) paths.sorted(Comparator.reverseOrder())::iterator) {
                Files.deleteIfExists(path);
            }
        }
        if (!closed) {
            throw new java.util.concurrent.TimeoutException("the application did not stop");
        }
        return Wire.empty();
    }
}
