//! Owns what names a schema in the headers of a record: Confluent's and Apicurio's. Does not own the datum, which then
//! has nothing in front.

use super::WireError;
use crate::record::Header;
use crate::schema_id::SchemaId;

/// Which part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

struct Names {
    confluent: &'static str,
    global_id: &'static str,
    content_id: &'static str,
}

const KEY: Names = Names {
    confluent: "__key_schema_id",
    global_id: "apicurio.key.globalId",
    content_id: "apicurio.key.contentId",
};
const VALUE: Names = Names {
    confluent: "__value_schema_id",
    global_id: "apicurio.value.globalId",
    content_id: "apicurio.value.contentId",
};

/// The schema that the headers name; `None` where none of them does. Of several headers of one name the last counts,
/// as Kafka's clients do it.
pub(super) fn schema_of(headers: &[Header], side: Side) -> Result<Option<SchemaId>, WireError> {
    let names = match side {
        Side::Key => KEY,
        Side::Value => VALUE,
    };
    let find = |name: &str| {
        headers.iter().rfind(|header| header.key == name).map(|header| header.value.as_deref().unwrap_or(&[]))
    };
    if let Some(value) = find(names.confluent) {
        return confluent(names.confluent, value).map(Some);
    }
    if let Some(value) = find(names.global_id) {
        return number(names.global_id, value).map(SchemaId::GlobalId).map(Some);
    }
    if let Some(value) = find(names.content_id) {
        return number(names.content_id, value).map(SchemaId::ContentId).map(Some);
    }
    Ok(None)
}

/// Byte 0 and a number of 4 bytes, or byte 1 and a GUID of 16.
fn confluent(name: &'static str, value: &[u8]) -> Result<SchemaId, WireError> {
    match *value {
        [0, a, b, c, d] => Ok(SchemaId::from(u32::from_be_bytes([a, b, c, d]))),
        [1, ref guid @ ..] if guid.len() == 16 => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(guid);
            Ok(SchemaId::Uuid(bytes))
        }
        _ => Err(refusal(name, value, "it should be 0 and 4 bytes of an id, or 1 and 16 bytes of a GUID")),
    }
}

/// 8 bytes, big endian.
fn number(name: &'static str, value: &[u8]) -> Result<u64, WireError> {
    let bytes = value.try_into().map_err(|_| refusal(name, value, "it should be an id of 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn refusal(name: &'static str, value: &[u8], reason: &'static str) -> WireError {
    let first = value.first().copied().unwrap_or_default();
    WireError::Header { name, bytes: value.len(), first, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::WireFormat;
    use crate::decode::wire::WireReader;

    fn header(key: &str, value: &[u8]) -> Header {
        Header { key: key.to_owned(), value: Some(value.to_vec()) }
    }

    fn value_schema(headers: &[Header]) -> Result<Option<SchemaId>, WireError> {
        schema_of(headers, Side::Value)
    }

    #[test]
    fn confluent_and_apicurio_headers_name_the_schema() {
        let number = header("__value_schema_id", &[0, 0, 0, 1, 2]);
        assert_eq!(value_schema(std::slice::from_ref(&number)), Ok(Some(SchemaId::Number(258))));
        let guid = header("__value_schema_id", b"\x010123456789abcdef");
        assert_eq!(value_schema(&[number, guid]), Ok(Some(SchemaId::Uuid(*b"0123456789abcdef"))));
        let global = header("apicurio.value.globalId", &[0, 0, 0, 0, 0, 0, 1, 2]);
        let content = header("apicurio.value.contentId", &[0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(value_schema(std::slice::from_ref(&content)), Ok(Some(SchemaId::ContentId(9))));
        assert_eq!(value_schema(&[content, global]), Ok(Some(SchemaId::GlobalId(258))));
        assert_eq!(value_schema(&[header("__key_schema_id", &[0, 0, 0, 0, 1])]), Ok(None));
    }

    #[test]
    fn keys_have_headers_of_their_own() {
        let headers =
            [header("__key_schema_id", &[0, 0, 0, 0, 1]), header("__value_schema_id", &[0, 0, 0, 0, 2])];
        assert_eq!(schema_of(&headers, Side::Key), Ok(Some(SchemaId::Number(1))));
        assert_eq!(schema_of(&headers, Side::Value), Ok(Some(SchemaId::Number(2))));
    }

    #[test]
    fn fault_45_a_header_that_names_nothing_is_told() {
        for (key, value) in [
            ("__value_schema_id", &[0, 1][..]),
            ("__value_schema_id", &[1, 1, 1, 1, 1]),
            ("__value_schema_id", &[]),
            ("__value_schema_id", b"42"),
            ("apicurio.value.globalId", &[0, 0, 0, 1]),
        ] {
            let error = value_schema(&[header(key, value)]).unwrap_err();
            assert!(error.to_string().contains(key) && error.kind() == "bad_header", "{error}");
        }
        let null = Header { key: "__value_schema_id".to_owned(), value: None };
        assert!(value_schema(&[null]).is_err());
    }

    #[test]
    fn without_a_header_the_value_is_read_as_confluents() {
        let mut reader = WireReader::new(WireFormat::Header, Side::Value);
        let headers = [header("__value_schema_id", &[0, 0, 0, 0, 3])];
        let value = [0, 0, 0, 0, 4, 9];
        assert_eq!(reader.split(&value, &headers), Ok((SchemaId::Number(3), &value[..])));
        assert_eq!(reader.split(&value, &[]), Ok((SchemaId::Number(4), &[9][..])));
        assert!(reader.split(&[9], &[]).is_err());
    }
}
