import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Drives Apache Kafka's Java clients and Kafka Streams by the line protocol of test/conformance (see ../README.md).
 *
 * <p>Usage: java Client BOOTSTRAP
 */
public final class Client {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final int LOCAL_ERROR = -1000;

    /** One operation of the protocol: a request in, a result out. */
    interface Operation {
        ObjectNode run(JsonNode request) throws Exception;
    }

    private Client() {}

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Map<String, Operation> operations = new TreeMap<>();
        new Topics(args[0]).register(operations);
        new Records(args[0]).register(operations);
        new Groups(args[0]).register(operations);
        new Shares(args[0]).register(operations);
        new Transactions(args[0]).register(operations);
        new Streams(args[0]).register(operations);
        out.println(hello(operations));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode request = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode();
            try {
                answer.set("result", operations.get(request.get("op").asText()).run(request));
            } catch (Exception e) {
                answer.set("error", failure(e));
            }
            out.println(answer);
        }
        System.exit(0); // member threads of a failed test must not keep the process
    }

    private static ObjectNode hello(Map<String, Operation> operations) {
        ObjectNode hello = JSON.createObjectNode();
        hello.put("client", "java");
        hello.put("version", AppInfoParser.getVersion());
        ArrayNode names = hello.putArray("operations");
        operations.keySet().forEach(names::add);
        ArrayNode codecs = hello.putArray("codecs");
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            codecs.add(codec);
        }
        ArrayNode features = hello.putArray("features");
        for (String feature : new String[] {
            "partition", "timestamp", "headers", "null_key", "null_value", "null_header", "reads_null", "idempotence",
            "read_committed", "committed_bounds", "consumer_protocol"}) {
            features.add(feature);
        }
        return hello;
    }

    private static ObjectNode failure(Exception e) {
        Throwable cause = e;
        while (cause.getCause() != null && (cause instanceof ExecutionException || !(cause instanceof ApiException))) {
            cause = cause.getCause();
        }
        int code = cause instanceof ApiException ? Errors.forException(cause).code() : LOCAL_ERROR;
        ObjectNode failure = JSON.createObjectNode();
        failure.put("code", code > 0 ? code : LOCAL_ERROR);
        failure.put("message", cause.toString());
        failure.put("kind", cause.getClass().getSimpleName());
        return failure;
    }
}
