import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Logs in as each case says, with Apache Kafka's client and the IAM library of AWS. */
public final class Login {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<?, ?> one = JSON.readValue(line, Map.class);
            List<String> consumed = new ArrayList<>();
            String error = "";
            try {
                run(one, consumed);
            } catch (Throwable t) {
                error = describe(t);
            }
            System.out.println(JSON.writeValueAsString(Map.of("id", one.get("id"), "consumed", consumed, "error", error)));
            System.out.flush();
        }
    }

    private static String describe(Throwable t) {
        StringBuilder text = new StringBuilder();
        for (Throwable cause = t; cause != null && text.length() < 2000; cause = cause.getCause()) {
            text.append(cause.getClass().getSimpleName()).append(": ").append(cause.getMessage()).append("; ");
        }
        return text.toString();
    }

    private static String text(Map<?, ?> one, String key) {
        Object value = one.get(key);
        return value == null ? "" : value.toString();
    }

    private static Properties properties(Map<?, ?> one) throws Exception {
        Properties p = new Properties();
        String method = text(one, "method");
        boolean tls = !text(one, "ca").isEmpty();
        boolean sasl = !method.equals("none");
        p.put("bootstrap.servers", text(one, "bootstrap"));
        p.put("security.protocol", (sasl ? "SASL_" : "") + (tls ? "SSL" : "PLAINTEXT"));
        if (tls) {
            p.put("ssl.truststore.type", "PEM");
            p.put("ssl.truststore.certificates", Files.readString(Path.of(text(one, "ca"))));
        }
        if (!text(one, "cert").isEmpty()) {
            p.put("ssl.keystore.type", "PEM");
            p.put("ssl.keystore.certificate.chain", Files.readString(Path.of(text(one, "cert"))));
            p.put("ssl.keystore.key", Files.readString(Path.of(text(one, "key"))));
        }
        switch (method) {
            case "scram":
                p.put("sasl.mechanism", "SCRAM-SHA-512");
                p.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\""
                    + text(one, "user") + "\" password=\"" + text(one, "password") + "\";");
                break;
            case "iam":
                p.put("sasl.mechanism", "AWS_MSK_IAM");
                p.put("sasl.jaas.config", "software.amazon.msk.auth.iam.IAMLoginModule required;");
                p.put("sasl.client.callback.handler.class", "software.amazon.msk.auth.iam.IAMClientCallbackHandler");
                break;
            case "oauth":
                p.put("sasl.mechanism", "OAUTHBEARER");
                p.put("sasl.jaas.config", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;");
                p.put("sasl.login.callback.handler.class", "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler");
                p.put("sasl.client.callback.handler.class", "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler");
                break;
            case "none":
                break;
            default:
                throw new IllegalArgumentException("no method " + method);
        }
        credentials(one);
        return p;
    }

    /** The AWS library takes its credentials from the system properties, anew for each login. */
    private static void credentials(Map<?, ?> one) {
        for (String[] pair : new String[][] {
            {"aws.accessKeyId", "access_key"}, {"aws.secretAccessKey", "secret_key"}, {"aws.sessionToken", "session_token"}, {"aws.region", "region"}}) {
            String value = text(one, pair[1]);
            if (value.isEmpty()) {
                System.clearProperty(pair[0]);
            } else {
                System.setProperty(pair[0], value);
            }
        }
    }

    private static void run(Map<?, ?> one, List<String> consumed) throws Exception {
        long limit = ((Number) one.get("timeout_ms")).longValue();
        String topic = text(one, "topic");
        String value = text(one, "value");
        Properties p = properties(one);
        p.put("max.block.ms", Long.toString(limit));
        p.put("delivery.timeout.ms", Long.toString(limit));
        p.put("request.timeout.ms", Long.toString(limit / 2));
        p.put("default.api.timeout.ms", Long.toString(limit));
        p.put("linger.ms", "0");
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>(topic, 0, null, value)).get(limit, TimeUnit.MILLISECONDS);
        }
        p.remove("delivery.timeout.ms");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer())) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = System.currentTimeMillis() + limit;
            while (!consumed.contains(value)) {
                if (System.currentTimeMillis() > end) {
                    throw new IllegalStateException("the record did not come back in time");
                }
                consumer.poll(Duration.ofMillis(100)).forEach(r -> consumed.add(r.value()));
            }
        }
    }
}
