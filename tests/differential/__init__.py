"""Our decoder and encoder against other implementations of Avro and Parquet, by generated and by real schemas."""
