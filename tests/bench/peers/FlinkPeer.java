// Flink SQL in one process: a bounded Kafka table inserted into a Parquet table. Arguments: brokers, topic, output folder.

import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

public class FlinkPeer {
    static final String COLUMNS =
        "order_id STRING NOT NULL, customer_id STRING NOT NULL, created_at BIGINT NOT NULL, status INT NOT NULL,"
        + " amount DECIMAL(18, 2) NOT NULL, currency STRING NOT NULL,"
        + " shipping ROW<country STRING NOT NULL, city STRING NOT NULL, street STRING NOT NULL, postcode STRING,"
        + "   latitude DOUBLE NOT NULL, longitude DOUBLE NOT NULL> NOT NULL,"
        + " items ARRAY<ROW<sku STRING NOT NULL, quantity INT NOT NULL, unit_price_cents BIGINT NOT NULL,"
        + "   discount FLOAT> NOT NULL> NOT NULL,"
        + " attributes MAP<STRING NOT NULL, STRING NOT NULL> NOT NULL, note STRING, paid_at BIGINT, loyalty_points INT";

    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("parallelism.default", "2");
        TableEnvironment tables = TableEnvironment.create(
            EnvironmentSettings.newInstance().inBatchMode().withConfiguration(configuration).build());
        tables.executeSql("CREATE TABLE source (" + COLUMNS + ") WITH ('connector' = 'kafka', 'topic' = '"
            + arguments[1] + "', 'properties.bootstrap.servers' = '" + arguments[0]
            + "', 'properties.isolation.level' = 'read_committed', 'scan.startup.mode' = 'earliest-offset',"
            + " 'scan.bounded.mode' = 'latest-offset', 'format' = 'avro')");
        tables.executeSql("CREATE TABLE sink (" + COLUMNS + ") WITH ('connector' = 'filesystem', 'path' = 'file://"
            + arguments[2] + "', 'format' = 'parquet', 'parquet.compression' = 'SNAPPY')");
        tables.executeSql("INSERT INTO sink SELECT * FROM source").await();
    }
}
