import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import javax.security.auth.x500.X500Principal;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

/** Answers each line: "name DER" with the name in it, "map RULES NAME" with the principal; all in base64. */
public class Names {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            System.out.println(answer(line.split(" ", -1)));
        }
    }

    private static String answer(String[] ask) {
        try {
            if (ask[0].equals("name")) {
                return "ok " + encode(new X500Principal(Base64.getDecoder().decode(ask[1])).getName());
            }
            return "ok " + encode(SslPrincipalMapper.fromRules(decode(ask[1])).getName(decode(ask[2])));
        } catch (Exception e) {
            return "error " + e.getClass().getSimpleName();
        }
    }

    private static String encode(String s) {
        return Base64.getEncoder().encodeToString(s.getBytes(StandardCharsets.UTF_8));
    }

    private static String decode(String s) {
        return new String(Base64.getDecoder().decode(s), StandardCharsets.UTF_8);
    }
}
