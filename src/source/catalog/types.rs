//! How a type's text is read, by its oid: built-in ones are known, others are looked up.

use std::collections::HashMap;

use tokio_postgres::types::{Kind as PostgresKind, Type};

use crate::lsn::Oid;
use crate::pgoutput::binary::{self, Form};
use crate::relation::Kind;

/// A type as the catalog describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    pub(super) name: String,
    /// Of a domain.
    pub(super) base: Option<Oid>,
    /// Of an array.
    pub(super) element: Option<Oid>,
    /// Between two values of this type in an array.
    pub(super) delimiter: u8,
    /// Of a composite; none of anything else.
    pub(super) fields: Option<Vec<(String, Oid)>>,
    /// The function that sends it in binary; none: it is always sent as text.
    pub(super) send: Option<String>,
    /// What a range or multirange ranges over.
    pub(super) bound: Option<Oid>,
}

/// Types nest; one that contains itself cannot be made, so this is no limit but a guard.
const DEPTH_MAX: usize = 32;

/// Returns the kind of a built-in type without asking anybody.
pub(super) fn built_in(oid: Oid) -> Option<Kind> {
    match oid.0 {
        // int2vector and oidvector: arrays by catalog, blank-parted text by output.
        22 | 30 => return Some(Kind::Text),
        _ => {}
    }
    let known = Type::from_oid(oid.0)?;
    Some(match known.kind() {
        PostgresKind::Array(element) => Kind::Array {
            element: Box::new(scalar(element)),
            delimiter: if *element == Type::BOX { b';' } else { b',' },
        },
        _ => scalar(&known),
    })
}

fn scalar(known: &Type) -> Kind {
    match *known {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Kind::Integer,
        Type::NUMERIC => Kind::Numeric,
        Type::FLOAT4 | Type::FLOAT8 => Kind::Float,
        Type::BOOL => Kind::Boolean,
        Type::DATE => Kind::Date,
        Type::TIMESTAMP => Kind::Timestamp,
        Type::TIMESTAMPTZ => Kind::TimestampTz,
        Type::JSON | Type::JSONB => Kind::Json,
        Type::BYTEA => Kind::Bytea,
        _ => Kind::Text,
    }
}

/// Returns the kind of any type, text for those that are in neither place.
pub(super) fn kind(oid: Oid, described: &HashMap<Oid, Description>) -> Kind {
    resolve(oid, described, DEPTH_MAX)
}

fn resolve(oid: Oid, described: &HashMap<Oid, Description>, depth: usize) -> Kind {
    if let Some(kind) = built_in(oid) {
        return kind;
    }
    let Some((description, depth)) = described.get(&oid).zip(depth.checked_sub(1)) else {
        return Kind::Text;
    };
    if let Some(base) = description.base {
        return resolve(base, described, depth);
    }
    if let Some(element) = description.element {
        let known = described.get(&element).map(|element| element.delimiter);
        let delimiter = known.unwrap_or(if element.0 == Type::BOX.oid() { b';' } else { b',' });
        let element = Box::new(resolve(element, described, depth));
        return Kind::Array { element, delimiter };
    }
    match &description.fields {
        Some(fields) => Kind::Composite {
            fields: fields
                .iter()
                .map(|(name, oid)| (name.clone(), resolve(*oid, described, depth)))
                .collect(),
        },
        None if description.name == "hstore" => Kind::Hstore,
        None => Kind::Text,
    }
}

/// Returns how a type is sent in binary. `monetary` is the database's `lc_monetary`.
pub(super) fn form(oid: Oid, described: &HashMap<Oid, Description>, monetary: &str) -> Form {
    send_form(oid, described, monetary, DEPTH_MAX)
}

fn send_form(
    oid: Oid,
    described: &HashMap<Oid, Description>,
    monetary: &str,
    depth: usize,
) -> Form {
    match binary::built_in(oid) {
        Some(form) if is_readable(&form, monetary) => return form,
        Some(_) => return Form::Unknown(format!("money under lc_monetary {monetary}").into()),
        None => {}
    }
    let Some((description, depth)) = described.get(&oid).zip(depth.checked_sub(1)) else {
        let known = Type::from_oid(oid.0).map(|known| known.name().to_owned());
        return Form::Unknown(known.unwrap_or_else(|| format!("with oid {}", oid.0)).into());
    };
    let nested = |oid: Oid| send_form(oid, described, monetary, depth);
    if let Some(base) = description.base {
        return nested(base);
    }
    let unknown = || Form::Unknown(description.name.as_str().into());
    match (description.send.as_deref(), description.element, description.bound) {
        (None, ..) => Form::Text,
        (Some("array_send"), Some(element), _) => {
            let known = described.get(&element).map(|element| element.delimiter);
            let delimiter = known.unwrap_or(if element.0 == Type::BOX.oid() { b';' } else { b',' });
            Form::Array { element: Box::new(nested(element)), delimiter }
        }
        (Some("range_send"), _, Some(bound)) => Form::Range { bound: Box::new(nested(bound)) },
        (Some("multirange_send"), _, Some(bound)) => {
            Form::Multirange { bound: Box::new(nested(bound)) }
        }
        (Some("record_send"), ..) => Form::Record {
            fields: description
                .fields
                .iter()
                .flatten()
                .map(|(_, oid)| (*oid, nested(*oid)))
                .collect(),
        },
        (Some(send), ..) => Form::of_send(send).unwrap_or_else(unknown),
    }
}

/// Whether the text can be made here: that of money depends on the server's locale, and only that
/// of the usual ones is known.
fn is_readable(form: &Form, monetary: &str) -> bool {
    match form {
        Form::Money => {
            matches!(monetary, "C" | "POSIX")
                || ["C.", "en_US"].iter().any(|it| monetary.starts_with(it))
        }
        Form::Array { element, .. } => is_readable(element, monetary),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_types_are_known_without_a_question() {
        let array = |element| Some(Kind::Array { element: Box::new(element), delimiter: b',' });
        for (oid, kind) in [
            (23, Some(Kind::Integer)),
            (1700, Some(Kind::Numeric)),
            (25, Some(Kind::Text)),
            (22, Some(Kind::Text)),
            (1007, array(Kind::Integer)),
            (1185, array(Kind::TimestampTz)),
            (3807, array(Kind::Json)),
            (1020, Some(Kind::Array { element: Box::new(Kind::Text), delimiter: b';' })),
            (99_999, None),
        ] {
            assert_eq!(built_in(Oid(oid)), kind, "{oid}");
        }
    }

    #[test]
    fn made_up_types_are_taken_apart_and_unknown_ones_are_text() {
        let mut described = HashMap::new();
        let own = |base: Option<u32>, element: Option<u32>| Description {
            base: base.map(Oid),
            element: element.map(Oid),
            delimiter: b',',
            ..Description::default()
        };
        described.insert(Oid(100_001), own(Some(23), None));
        described.insert(Oid(100_002), own(None, Some(100_001)));
        let fields = Some(vec![("a".to_owned(), Oid(100_002)), ("b".to_owned(), Oid(77_777))]);
        described.insert(Oid(100_003), Description { fields, ..Description::default() });
        let name = "hstore".to_owned();
        described.insert(Oid(100_004), Description { name, ..Description::default() });
        assert_eq!(kind(Oid(100_001), &described), Kind::Integer);
        let array = Kind::Array { element: Box::new(Kind::Integer), delimiter: b',' };
        let fields = vec![("a".to_owned(), array), ("b".to_owned(), Kind::Text)];
        assert_eq!(kind(Oid(100_003), &described), Kind::Composite { fields });
        assert_eq!(kind(Oid(100_004), &described), Kind::Hstore);
    }
}
