import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Timer;
import java.util.TimerTask;

import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** A day of an application with JDBC; what it found goes to standard output, a line for each thing. */
public class Jdbc {
    public static void main(String[] arguments) throws Exception {
        // From the fifth run on the driver uses a named statement and binary values; -1 would do so from the first.
        try (Connection connection = DriverManager.getConnection(arguments[0] + "&prepareThreshold=5")) {
            prepared(connection);
            copied(connection);
            canceled(connection);
            failed(connection);
        }
    }

    static void prepared(Connection connection) throws SQLException {
        long sum = 0;
        try (PreparedStatement statement = connection.prepareStatement("select ?::int8 * 2, ?::timestamptz is null")) {
            for (int round = 0; round < 20; round++) {
                statement.setLong(1, round);
                statement.setString(2, null);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    sum += rows.getLong(1);
                }
            }
        }
        System.out.println("sum " + sum);
        String named = "select count(*) from pg_prepared_statements where not from_sql";
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(named)) {
            rows.next();
            System.out.println("named " + rows.getLong(1));
        }
    }

    static void copied(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temporary table copied (number int, text text)");
        }
        StringBuilder lines = new StringBuilder();
        for (int number = 0; number < 10000; number++) {
            lines.append(number).append("\tline ").append(number).append('\n');
        }
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        long in = manager.copyIn("copy copied from stdin", new StringReader(lines.toString()));
        StringWriter out = new StringWriter();
        manager.copyOut("copy (select * from copied order by number) to stdout", out);
        System.out.println("copied " + in + " " + out.toString().equals(lines.toString()));
    }

    static void canceled(Connection connection) throws SQLException {
        Timer timer = new Timer(true);
        try (Statement statement = connection.createStatement()) {
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException error) {
                        error.printStackTrace();
                    }
                }
            }, 500);
            statement.execute("select pg_sleep(30)");
            System.out.println("not canceled");
        } catch (SQLException error) {
            System.out.println("canceled " + error.getSQLState());
        }
    }

    static void failed(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("create temporary table once (number int primary key)");
            statement.execute("insert into once values (1), (1)");
        } catch (SQLException error) {
            System.out.println("failed " + error.getSQLState());
        }
    }
}
