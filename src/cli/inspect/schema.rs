//! Owns a Parquet schema as a list of fields with their depth, and the names of its types. Does not own its layout.

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit};
use parquet::schema::types::Type;
use serde::Serialize;

/// A field, with the fields inside it following.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SchemaNode {
    /// 0 for columns of the row.
    pub(super) depth: usize,
    pub(super) name: String,
    /// `required`, `optional`, `repeated`.
    pub(super) repetition: &'static str,
    /// Absent for groups.
    pub(super) physical_type: Option<String>,
    pub(super) logical_type: Option<String>,
}

/// The fields of a row, depth first. No recursion: depth is the file's to choose.
pub(super) fn schema_nodes(root: &Type) -> Vec<SchemaNode> {
    let mut nodes = Vec::new();
    let mut waiting: Vec<(usize, &Type)> = Vec::new();
    push_fields(&mut waiting, 0, root);
    while let Some((depth, node)) = waiting.pop() {
        nodes.push(SchemaNode {
            depth,
            name: node.name().to_owned(),
            repetition: repetition_name(node),
            physical_type: physical_name(node),
            logical_type: logical_name(node),
        });
        push_fields(&mut waiting, depth + 1, node);
    }
    nodes
}

/// Physical type with the length of fixed ones; `None` for groups.
pub(super) fn physical_name(node: &Type) -> Option<String> {
    let Type::PrimitiveType { physical_type, type_length, .. } = node else { return None };
    let name = physical_type.to_string().to_lowercase();
    Some(if name == "fixed_len_byte_array" { format!("{name}({type_length})") } else { name })
}

/// Logical type, or the older converted type where that is all there is.
pub(super) fn logical_name(node: &Type) -> Option<String> {
    let info = node.get_basic_info();
    if let Some(logical) = info.logical_type_ref() {
        return Some(match logical {
            LogicalType::Integer(int) => {
                format!("{}INT({})", if int.is_signed { "" } else { "U" }, int.bit_width)
            }
            LogicalType::Decimal(decimal) => format!("DECIMAL({},{})", decimal.precision, decimal.scale),
            LogicalType::Timestamp(at) => {
                format!("TIMESTAMP({},{})", unit_name(at.unit), zone_name(at.is_adjusted_to_u_t_c))
            }
            LogicalType::Time(at) => {
                format!("TIME({},{})", unit_name(at.unit), zone_name(at.is_adjusted_to_u_t_c))
            }
            // The name without what some carry beside it.
            other => {
                let text = format!("{other:?}").to_uppercase();
                text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
            }
        });
    }
    match (info.converted_type(), node) {
        (ConvertedType::NONE, _) => None,
        (ConvertedType::DECIMAL, Type::PrimitiveType { precision, scale, .. }) => {
            Some(format!("DECIMAL({precision},{scale})"))
        }
        (converted, _) => Some(converted.to_string()),
    }
}

fn push_fields<'a>(waiting: &mut Vec<(usize, &'a Type)>, depth: usize, node: &'a Type) {
    if node.is_group() {
        waiting.extend(node.get_fields().iter().rev().map(|field| (depth, &**field)));
    }
}

fn repetition_name(node: &Type) -> &'static str {
    let info = node.get_basic_info();
    match info.has_repetition().then(|| info.repetition()) {
        Some(Repetition::OPTIONAL) => "optional",
        Some(Repetition::REPEATED) => "repeated",
        Some(Repetition::REQUIRED) | None => "required",
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::MILLIS => "ms",
        TimeUnit::MICROS => "us",
        TimeUnit::NANOS => "ns",
    }
}

fn zone_name(utc: bool) -> &'static str {
    if utc { "UTC" } else { "local" }
}
