import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/**
 * A Kafka Streams application of two parts: it counts the words of "lines" into "counts", and joins "left" with "right" by
 * key within a window into "pairs". Arguments are settings, name=value. It prints each change of its state, and why it died.
 */
public final class Application {
    private static final Serde<String> STRING = Serdes.String();
    private static final Duration WINDOW = Duration.ofSeconds(1);

    private Application() {}

    public static void main(String[] settings) throws Exception {
        Properties config = new Properties();
        // Every update goes on at once: what comes out does not hang on the clock.
        config.put("statestore.cache.max.bytes", "0");
        config.put("num.stream.threads", "2");
        config.put("commit.interval.ms", "100");
        config.put("consumer.auto.offset.reset", "earliest");
        for (String setting : settings) {
            String[] parts = setting.split("=", 2);
            config.put(parts[0], parts[1]);
        }
        String prefix = (String) config.remove("output.prefix");
        StreamsBuilder builder = new StreamsBuilder();
        count(builder, prefix + "counts");
        join(builder, prefix + "pairs");
        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setStateListener((now, before) -> say("state " + now));
        streams.setUncaughtExceptionHandler((Throwable fault) -> {
            fault.printStackTrace();
            say("died of " + fault);
            Runtime.getRuntime().halt(3);
            return null;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static synchronized void say(String what) {
        System.out.println(what);
        System.out.flush();
    }

    private static void count(StreamsBuilder builder, String out) {
        builder.stream("lines", Consumed.with(STRING, STRING))
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word, Grouped.with("words", STRING, STRING))
                .count(Materialized.as("counts"))
                .toStream()
                .mapValues(String::valueOf)
                .to(out, Produced.with(STRING, STRING));
    }

    private static void join(StreamsBuilder builder, String out) {
        KStream<String, String> left = builder.stream("left", Consumed.with(STRING, STRING));
        KStream<String, String> right = builder.stream("right", Consumed.with(STRING, STRING));
        // A day of grace: no record is ever too late, so the pairs do not hang on which topic is read first.
        left.join(right, (a, b) -> a + "+" + b, JoinWindows.ofTimeDifferenceAndGrace(WINDOW, Duration.ofDays(1)),
                        StreamJoined.with(STRING, STRING, STRING).withStoreName("pairs"))
                .to(out, Produced.with(STRING, STRING));
    }
}
