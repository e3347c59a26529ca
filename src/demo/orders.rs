//! Owns the generated order records: their Avro schema and their datums, the same for the same seed.
//! A datum is about 235 bytes: nested, nullable, decimal, timestamps, an array of records, a map, an enum.

/// The Avro schema of an order.
pub const ORDER_SCHEMA: &str = r#"{
  "type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "order_id", "type": "string"},
    {"name": "customer_id", "type": "long"},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["NEW", "PAID", "SHIPPED", "RETURNED"]}},
    {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "paid_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
    {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "currency", "type": "string"},
    {"name": "shipping", "type": {"type": "record", "name": "Address", "fields": [
      {"name": "name", "type": "string"},
      {"name": "street", "type": "string"},
      {"name": "city", "type": "string"},
      {"name": "country", "type": "string"},
      {"name": "postcode", "type": ["null", "string"], "default": null}
    ]}},
    {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
      {"name": "sku", "type": "string"},
      {"name": "quantity", "type": "int"},
      {"name": "price_cents", "type": "long"}
    ]}}},
    {"name": "attributes", "type": {"type": "map", "values": "string"}},
    {"name": "note", "type": ["null", "string"], "default": null},
    {"name": "gift", "type": "boolean"}
  ]}"#;

const CURRENCIES: [&str; 5] = ["EUR", "USD", "GBP", "JPY", "BRL"];
const COUNTRIES: [&str; 8] = ["DE", "FR", "PT", "US", "GB", "JP", "BR", "IN"];
const CITIES: [&str; 10] =
    ["Berlin", "Lyon", "Porto", "Boston", "Leeds", "Osaka", "Recife", "Pune", "Hamburg", "Nantes"];
const NAMES: [&str; 8] = [
    "Ada Lovelace",
    "Grace Hopper",
    "Edsger Dijkstra",
    "Barbara Liskov",
    "Alan Turing",
    "Tony Hoare",
    "Margaret Hamilton",
    "Niklaus Wirth",
];
const CHANNELS: [&str; 4] = ["web", "app", "store", "phone"];
/// 2026-01-01T00:00:00Z, microseconds since the epoch.
const FIRST_ORDER_MICROS: i64 = 1_767_225_600_000_000;

/// Generates orders one after the other.
pub struct OrderGenerator {
    random: u64,
    next_id: u64,
}

impl OrderGenerator {
    /// The same seed gives the same orders.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: seed | 1, next_id: 0 }
    }

    /// Appends the Avro datum of the next order to `datum` and gives its total in cents.
    pub fn append_order(&mut self, datum: &mut Vec<u8>) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        put_string(datum, &format!("{:016x}-{id:012}", self.random()));
        put_long(datum, (self.random() % 200_000) as i64);
        put_long(datum, (self.random() % 4) as i64);
        let created = FIRST_ORDER_MICROS + id as i64 * 20_000 + (self.random() % 10_000) as i64;
        put_long(datum, created);
        if self.random().is_multiple_of(4) {
            put_long(datum, 0);
        } else {
            put_long(datum, 1);
            put_long(datum, created / 1000 + 60_000);
        }
        let total = (self.random() % 5_000_000) as i64 - 10_000;
        put_decimal(datum, total);
        put_string(datum, self.pick(&CURRENCIES));
        self.append_address(datum);
        self.append_items(datum);
        self.append_attributes(datum);
        if self.random().is_multiple_of(10) {
            put_long(datum, 1);
            put_string(datum, "please leave it with the neighbours");
        } else {
            put_long(datum, 0);
        }
        datum.push(u8::from(self.random().is_multiple_of(20)));
        total
    }

    fn append_address(&mut self, datum: &mut Vec<u8>) {
        let number = self.random() % 10_000;
        put_string(datum, self.pick(&NAMES));
        put_string(datum, &format!("Long Street {}, Floor {}", number % 250, number % 7));
        put_string(datum, self.pick(&CITIES));
        put_string(datum, self.pick(&COUNTRIES));
        if number.is_multiple_of(5) {
            put_long(datum, 0);
        } else {
            put_long(datum, 1);
            put_string(datum, &format!("{number:05}"));
        }
    }

    fn append_items(&mut self, datum: &mut Vec<u8>) {
        let count = 1 + self.random() % 4;
        put_long(datum, count as i64);
        for _ in 0..count {
            put_string(datum, &format!("SKU-{:06}-BLUE-XL", self.random() % 50_000));
            put_long(datum, 1 + (self.random() % 5) as i64);
            put_long(datum, 99 + (self.random() % 100_000) as i64);
        }
        put_long(datum, 0);
    }

    fn append_attributes(&mut self, datum: &mut Vec<u8>) {
        put_long(datum, 3);
        put_string(datum, "channel");
        put_string(datum, self.pick(&CHANNELS));
        put_string(datum, "campaign");
        put_string(datum, &format!("spring-{}", self.random() % 40));
        put_string(datum, "device");
        put_string(datum, &format!("phone-{}", self.random() % 12));
        put_long(datum, 0);
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[(self.random() % words.len() as u64) as usize]
    }

    /// xorshift64*: reproducible anywhere.
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
}

fn put_long(datum: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        datum.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    datum.push(rest as u8);
}

fn put_string(datum: &mut Vec<u8>, text: &str) {
    put_long(datum, text.len() as i64);
    datum.extend_from_slice(text.as_bytes());
}

/// Big-endian two's complement in as few bytes as hold it.
fn put_decimal(datum: &mut Vec<u8>, value: i64) {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let redundant =
        bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] & 0x80) == (sign & 0x80)).count();
    let bytes = &bytes[redundant..];
    put_long(datum, bytes.len() as i64);
    datum.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::types::Value;

    use super::*;

    #[test]
    fn another_implementation_reads_the_orders() {
        let schema = Schema::parse_str(ORDER_SCHEMA).unwrap();
        let mut generator = OrderGenerator::new(7);
        let mut bytes = 0;
        for at in 0..2_000 {
            let mut datum = Vec::new();
            generator.append_order(&mut datum);
            bytes += datum.len();
            let value = apache_avro::reader::datum::GenericDatumReader::builder(&schema)
                .build()
                .unwrap()
                .read_value(&mut datum.as_slice())
                .unwrap();
            let Value::Record(fields) = value else { panic!("an order is a record") };
            let Value::String(id) = &fields[0].1 else { panic!("an order id is a string") };
            assert!(id.ends_with(&format!("{at:012}")));
        }
        let mean = bytes / 2_000;
        assert!((200..270).contains(&mean), "mean order of {mean} bytes");
    }

    #[test]
    fn the_same_seed_gives_the_same_orders() {
        let orders = |seed| {
            let mut datum = Vec::new();
            let mut generator = OrderGenerator::new(seed);
            for _ in 0..100 {
                generator.append_order(&mut datum);
            }
            datum
        };
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(3));
    }

    #[test]
    fn decimals_take_no_redundant_byte() {
        for (value, expected) in [
            (0, vec![2, 0]),
            (-1, vec![2, 0xff]),
            (127, vec![2, 127]),
            (128, vec![4, 0, 128]),
            (-129, vec![4, 0xff, 0x7f]),
        ] {
            let mut datum = Vec::new();
            put_decimal(&mut datum, value);
            assert_eq!(datum, expected, "{value}");
        }
    }
}
