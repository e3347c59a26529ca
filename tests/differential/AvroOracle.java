// The Java implementation of Avro as an oracle: requests on standard input, answers on standard output, a line of JSON
// each. Run from source: `java -cp JARS AvroOracle.java`.
//
// Values travel in a neutral form: booleans, integers and text as they are; floats and doubles as the integer of their
// bits; bytes, fixed and datums in base64; an enum as its symbol; an array as a list; a map as a list of pairs; a
// record as the list of its fields; a union as [branch number, value].

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Conversions;
import org.apache.avro.LogicalType;
import org.apache.avro.LogicalTypes;
import org.apache.avro.NameValidator;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

public final class AvroOracle {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final JsonNodeFactory NODES = JsonNodeFactory.withExactBigDecimals(false);
  private static final GenericData PLAIN = new GenericData();
  private static final GenericData LOGICAL = new GenericData();

  static {
    LOGICAL.addLogicalTypeConversion(new Conversions.DecimalConversion());
    LOGICAL.addLogicalTypeConversion(new Conversions.BigDecimalConversion());
    LOGICAL.addLogicalTypeConversion(new Conversions.UUIDConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.DateConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.TimeMillisConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.TimeMicrosConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.TimestampMillisConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.TimestampNanosConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.LocalTimestampMillisConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.LocalTimestampMicrosConversion());
    LOGICAL.addLogicalTypeConversion(new TimeConversions.LocalTimestampNanosConversion());
  }

  public static void main(String[] arguments) throws IOException {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode request = JSON.readTree(line);
      JsonNode answer;
      try {
        answer = switch (request.get("do").textValue()) {
          case "parse" -> parse(request);
          case "encode" -> encode(request);
          case "resolve" -> resolve(request);
          default -> throw new IllegalArgumentException(line);
        };
      } catch (Exception | StackOverflowError error) {
        answer = NODES.objectNode().put("error", String.valueOf(error));
      }
      out.write(JSON.writeValueAsString(answer));
      out.newLine();
    }
    out.flush();
  }

  /** {schema} -> {} or {error}, as the parser behaves by default. */
  private static JsonNode parse(JsonNode request) {
    new Schema.Parser().parse(request.get("schema").textValue());
    return NODES.objectNode();
  }

  private static Schema schema(JsonNode request, String key) {
    Schema.Parser parser = new Schema.Parser(NameValidator.NO_VALIDATION);
    return parser.setValidateDefaults(false).parse(request.get(key).textValue());
  }

  /** {schema, values, logical, blocks} -> {datums}: with the conversions of logical types, in small blocks. */
  private static JsonNode encode(JsonNode request) throws IOException {
    Schema schema = schema(request, "schema");
    boolean logical = request.get("logical").booleanValue();
    GenericDatumWriter<Object> writer = new GenericDatumWriter<>(schema, logical ? LOGICAL : PLAIN);
    ArrayNode datums = NODES.arrayNode();
    for (JsonNode value : request.get("values")) {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      BinaryEncoder encoder = request.get("blocks").booleanValue()
          ? new EncoderFactory().configureBlockSize(64).blockingBinaryEncoder(bytes, null)
          : EncoderFactory.get().binaryEncoder(bytes, null);
      writer.write(object(schema, value, logical), encoder);
      encoder.flush();
      datums.add(text(bytes.toByteArray()));
    }
    return NODES.objectNode().set("datums", datums);
  }

  /** {writer, reader, datums} -> {compatible, values}; a value that cannot be read is an object {error}. */
  private static JsonNode resolve(JsonNode request) {
    Schema writer = schema(request, "writer");
    Schema reader = schema(request, "reader");
    ObjectNode answer = NODES.objectNode();
    SchemaCompatibility.SchemaCompatibilityType verdict =
        SchemaCompatibility.checkReaderWriterCompatibility(reader, writer).getType();
    answer.put("compatible", verdict == SchemaCompatibility.SchemaCompatibilityType.COMPATIBLE);
    ArrayNode values = answer.putArray("values");
    for (JsonNode datum : request.get("datums")) {
      try {
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(bytes(datum), null);
        Object value = new GenericDatumReader<>(writer, reader, PLAIN).read(null, decoder);
        if (!decoder.isEnd()) {
          throw new IOException("trailing bytes");
        }
        values.add(neutral(reader, value));
      } catch (Exception | StackOverflowError error) {
        values.addObject().put("error", String.valueOf(error));
      }
    }
    return answer;
  }

  /** What the writer takes for a neutral value. */
  private static Object object(Schema schema, JsonNode value, boolean logical) {
    LogicalType meaning = logical ? schema.getLogicalType() : null;
    if (meaning != null) {
      Object converted = meaningful(schema, meaning, value);
      if (converted != null) {
        return converted;
      }
    }
    switch (schema.getType()) {
    case NULL:
      return null;
    case BOOLEAN:
      return value.booleanValue();
    case INT:
      return value.intValue();
    case LONG:
      return value.longValue();
    case FLOAT:
      return Float.intBitsToFloat((int) value.longValue());
    case DOUBLE:
      return Double.longBitsToDouble(value.bigIntegerValue().longValue());
    case STRING:
      return value.textValue();
    case BYTES:
      return ByteBuffer.wrap(bytes(value));
    case FIXED:
      return new GenericData.Fixed(schema, bytes(value));
    case ENUM:
      return new GenericData.EnumSymbol(schema, value.textValue());
    case ARRAY: {
      List<Object> items = new ArrayList<>();
      value.forEach(item -> items.add(object(schema.getElementType(), item, logical)));
      return items;
    }
    case MAP: {
      Map<String, Object> entries = new LinkedHashMap<>();
      value.forEach(pair -> entries.put(pair.get(0).textValue(), object(schema.getValueType(), pair.get(1), logical)));
      return entries;
    }
    case UNION: {
      // The writer finds the branch by the class of the object, which two logical types may share.
      boolean clear = schema.getTypes().stream().filter(branch -> branch.getLogicalType() != null).count() < 2;
      return object(schema.getTypes().get(value.get(0).intValue()), value.get(1), logical && clear);
    }
    case RECORD: {
      GenericData.Record record = new GenericData.Record(schema);
      for (Schema.Field field : schema.getFields()) {
        record.put(field.pos(), object(field.schema(), value.get(field.pos()), logical));
      }
      return record;
    }
    default:
      throw new IllegalArgumentException(schema.toString());
    }
  }

  /** The Java object of a logical type; null where there is no conversion, or a wrong one (nanoseconds before 1970). */
  private static Object meaningful(Schema schema, LogicalType meaning, JsonNode value) {
    switch (meaning.getName()) {
    case "decimal":
      return new BigDecimal(integer(bytes(value)), ((LogicalTypes.Decimal) meaning).getScale());
    case "big-decimal":
      return new Conversions.BigDecimalConversion().fromBytes(ByteBuffer.wrap(bytes(value)), schema, meaning);
    case "uuid":
      if (schema.getType() == Schema.Type.FIXED) {
        ByteBuffer parts = ByteBuffer.wrap(bytes(value));
        return new UUID(parts.getLong(), parts.getLong());
      }
      return UUID.fromString(value.textValue());
    case "date":
      return LocalDate.ofEpochDay(value.longValue());
    case "time-millis":
      return LocalTime.ofNanoOfDay(value.longValue() * 1_000_000);
    case "time-micros":
      return LocalTime.ofNanoOfDay(value.longValue() * 1_000);
    case "timestamp-millis":
      return instant(value, 1_000);
    case "timestamp-micros":
      return instant(value, 1_000_000);
    case "timestamp-nanos":
      return value.longValue() < 0 ? null : instant(value, 1_000_000_000);
    case "local-timestamp-millis":
      return LocalDateTime.ofInstant(instant(value, 1_000), ZoneOffset.UTC);
    case "local-timestamp-micros":
      return LocalDateTime.ofInstant(instant(value, 1_000_000), ZoneOffset.UTC);
    case "local-timestamp-nanos":
      return value.longValue() < 0 ? null : LocalDateTime.ofInstant(instant(value, 1_000_000_000), ZoneOffset.UTC);
    default:
      return null;
    }
  }

  private static Instant instant(JsonNode value, long perSecond) {
    long number = value.longValue();
    return Instant.ofEpochSecond(Math.floorDiv(number, perSecond), Math.floorMod(number, perSecond) * (1_000_000_000 / perSecond));
  }

  private static BigInteger integer(byte[] bytes) {
    return bytes.length == 0 ? BigInteger.ZERO : new BigInteger(bytes);
  }

  /** The neutral form of what the reader gave. */
  private static JsonNode neutral(Schema schema, Object value) {
    switch (schema.getType()) {
    case NULL:
      return NODES.nullNode();
    case BOOLEAN:
      return NODES.booleanNode((Boolean) value);
    case INT:
      return NODES.numberNode((Integer) value);
    case LONG:
      return NODES.numberNode((Long) value);
    case FLOAT:
      return NODES.numberNode(Float.floatToRawIntBits((Float) value) & 0xFFFF_FFFFL);
    case DOUBLE:
      return NODES.numberNode(new BigInteger(Long.toUnsignedString(Double.doubleToRawLongBits((Double) value))));
    case STRING:
    case ENUM:
      return NODES.textNode(value.toString());
    case BYTES: {
      ByteBuffer buffer = ((ByteBuffer) value).duplicate();
      byte[] bytes = new byte[buffer.remaining()];
      buffer.get(bytes);
      return text(bytes);
    }
    case FIXED:
      return text(((GenericData.Fixed) value).bytes());
    case ARRAY: {
      ArrayNode items = NODES.arrayNode();
      ((List<?>) value).forEach(item -> items.add(neutral(schema.getElementType(), item)));
      return items;
    }
    case MAP: {
      ArrayNode pairs = NODES.arrayNode();
      ((Map<?, ?>) value)
          .forEach((key, item) -> pairs.addArray().add(key.toString()).add(neutral(schema.getValueType(), item)));
      return pairs;
    }
    case UNION: {
      int branch = PLAIN.resolveUnion(schema, value);
      return NODES.arrayNode().add(branch).add(neutral(schema.getTypes().get(branch), value));
    }
    case RECORD: {
      ArrayNode fields = NODES.arrayNode();
      GenericData.Record record = (GenericData.Record) value;
      schema.getFields().forEach(field -> fields.add(neutral(field.schema(), record.get(field.pos()))));
      return fields;
    }
    default:
      throw new IllegalArgumentException(schema.toString());
    }
  }

  private static byte[] bytes(JsonNode text) {
    return Base64.getDecoder().decode(text.textValue());
  }

  private static JsonNode text(byte[] bytes) {
    return NODES.textNode(Base64.getEncoder().encodeToString(bytes));
  }
}
