//! Owns the CRC-64-AVRO fingerprint of a schema (Avro 1.12, "Schema Fingerprints"). Does not own the canonical form it
//! is made of ([`super::text`]) nor who looks it up.

use super::model::AvroSchema;

/// Also the fingerprint of nothing.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

impl AvroSchema {
    /// CRC-64-AVRO of the canonical form, as the single-object encoding carries it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        crc64(self.canonical_form().as_bytes())
    }
}

fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |hash, byte| (hash >> 8) ^ TABLE[usize::from((hash as u8) ^ byte)])
}

static TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut hash = at as u64;
        let mut bit = 0;
        while bit < 8 {
            hash = (hash >> 1) ^ (EMPTY & 0_u64.wrapping_sub(hash & 1));
            bit += 1;
        }
        table[at] = hash;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::rabin::Rabin;

    use super::*;

    fn parse(json: &str) -> AvroSchema {
        AvroSchema::parse(json, &[]).unwrap()
    }

    #[test]
    fn the_forms_of_the_specification_come_out() {
        for (json, form) in [
            (r#""int""#, r#""int""#),
            (r#"{"type":"int","logicalType":"date"}"#, r#""int""#),
            (r#"{"type":["null",{"type":"string"}]}"#, r#"["null","string"]"#),
            (
                r#"{"name":"a.F","size":12,"type":"fixed","doc":"x"}"#,
                r#"{"name":"a.F","type":"fixed","size":12}"#,
            ),
            (
                r#"{"type":"record","namespace":"n","name":"R","doc":"d","aliases":["Q"],"fields":[
                    {"type":{"type":"array","items":"R"},"name":"a","default":[],"order":"ignore"},
                    {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}},
                    {"name":"f","type":["null","n.E"]}]}"#,
                r#"{"name":"n.R","type":"record","fields":[{"name":"a","type":{"type":"array","items":"n.R"}},{"name":"e","type":{"name":"n.E","type":"enum","symbols":["A","B"]}},{"name":"f","type":["null","n.E"]}]}"#,
            ),
        ] {
            assert_eq!(parse(json).canonical_form(), form);
        }
    }

    #[test]
    fn fingerprints_are_those_of_apache_avro() {
        for json in [
            r#""null""#,
            r#"{"type":"map","values":{"type":"array","items":["null","double"]}}"#,
            r#"{"type":"fixed","name":"a.b.F","size":16}"#,
            r#"{"type":"record","name":"R","namespace":"n","fields":[{"name":"x","type":"long"},
                {"name":"y","type":{"type":"record","name":"S","fields":[{"name":"z","type":"bytes"}]}},
                {"name":"w","type":["null","S"]}]}"#,
        ] {
            let oracle = Schema::parse_str(json).unwrap();
            let ours = parse(json);
            assert_eq!(ours.canonical_form(), oracle.canonical_form());
            let hash = oracle.fingerprint::<Rabin>();
            assert_eq!(ours.fingerprint().to_le_bytes(), hash.bytes[..], "{json}");
        }
        // From the specification's reference implementation.
        assert_eq!(parse(r#""null""#).fingerprint(), 0x63dd_24e7_cc25_8f8a);
        assert_eq!(parse(r#""int""#).fingerprint(), 0x7275_d51a_3f39_5c8f);
    }

    #[test]
    fn a_type_that_contains_itself_ends() {
        let json = r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#;
        assert!(parse(json).canonical_form().ends_with(r#""type":["null","R"]}]}"#));
    }
}
