import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command line tools one after the other in one JVM, because each JVM of its own takes a second to start.
 * A line of input is a JSON list, the class and its arguments; a line of output is an object with the tool's "exit" code, 0
 * where its main returned, and all that it said as "out".
 */
public final class Tools {
    private Tools() {}

    /** Thrown where a tool ends its process. */
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    /** What the running tool had said when it ended its process; null until then. */
    private static volatile ObjectNode ended;

    private static ObjectNode answer(int code, ByteArrayOutputStream said) {
        return new ObjectMapper().createObjectNode().put("exit", code).put("out", said.toString(StandardCharsets.UTF_8));
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        // Set once: Scala keeps the stream that it finds first.
        PrintStream saying = new PrintStream(said, true, StandardCharsets.UTF_8);
        System.setOut(saying);
        System.setErr(saying);
        // A tool that catches what is thrown here goes on; nothing of that counts.
        Exit.Procedure exit = (code, message) -> {
            if (ended == null) {
                saying.flush();
                ended = answer(code, said);
            }
            throw new Ended();
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        ObjectMapper json = new ObjectMapper();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String[] words = json.readValue(line, String[].class);
            String[] arguments = java.util.Arrays.copyOfRange(words, 1, words.length);
            int code = run(words[0], arguments);
            saying.flush();
            answers.println(json.writeValueAsString(ended == null ? answer(code, said) : ended));
            answers.flush();
            said.reset();
            ended = null;
        }
    }

    private static int run(String name, String[] arguments) throws Exception {
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return 0;
        } catch (InvocationTargetException thrown) {
            thrown.getCause().printStackTrace();
            return 1;
        }
    }
}
