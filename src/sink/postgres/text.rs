//! A value's JSON becomes the text that the server reads for a column of some type.
//!
//! Everything goes as text and is cast by the server, so that no digit is ours to lose.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::sink::row::{Field, Fields, Text};

/// What of a type decides how its text is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Strings as they are, everything else as its JSON is written.
    Plain,
    /// json, jsonb: the JSON itself.
    Json,
    /// bytea: from base64.
    Bytea,
    /// hstore: from an object.
    Hstore,
    /// An array: from a list.
    Array {
        element: Box<Self>,
        /// Between two elements (a comma but for `box`).
        delimiter: char,
    },
    /// A composite type: from an object, by the names of its fields.
    Composite(Vec<(String, Self)>),
}

/// A value that can't be one of the column's type. Holds no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("is not base64, and the column is bytea")]
    Base64,
    #[error("is not what the column's type takes")]
    Json,
}

/// Returns a field's text; none is NULL.
pub(super) fn of<'a>(field: &Field<'a>, shape: &Shape) -> Result<Option<Cow<'a, str>>, Unfit> {
    if field.is_json_null && *shape == Shape::Json {
        return Ok(Some(Cow::Borrowed("null")));
    }
    value(field.value, shape)
}

fn value<'a>(raw: &'a RawValue, shape: &Shape) -> Result<Option<Cow<'a, str>>, Unfit> {
    let json = raw.get();
    let first = json.as_bytes().first();
    Ok(Some(match (shape, first) {
        (_, Some(b'n')) => return Ok(None),
        (Shape::Json, _) => json.into(),
        (Shape::Bytea, Some(b'"')) => hex(&string(json)?)?.into(),
        (Shape::Hstore, Some(b'{')) => hstore(json)?.into(),
        (Shape::Array { element, delimiter }, Some(b'[')) => {
            let mut out = String::new();
            array(json, element, *delimiter, &mut out)?;
            out.into()
        }
        (Shape::Composite(fields), Some(b'{')) => composite(json, fields)?.into(),
        (_, Some(b'"')) => string(json)?,
        _ => json.into(),
    }))
}

fn string(json: &str) -> Result<Cow<'_, str>, Unfit> {
    let Text(text) = serde_json::from_str(json).map_err(|_| Unfit::Json)?;
    Ok(text)
}

fn hex(text: &str) -> Result<String, Unfit> {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let bytes = STANDARD.decode(text).map_err(|_| Unfit::Base64)?;
    let mut hex = String::with_capacity(bytes.len().saturating_mul(2).saturating_add(2));
    hex.push_str("\\x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xF] {
            hex.extend(DIGITS.get(usize::from(digit)));
        }
    }
    Ok(hex)
}

/// `{a,"b c",NULL,{…}}`. Source: <https://www.postgresql.org/docs/current/arrays.html>.
fn array(json: &str, element: &Shape, delimiter: char, out: &mut String) -> Result<(), Unfit> {
    let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| Unfit::Json)?;
    out.push('{');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        if item.get().starts_with('[') && *element != Shape::Json {
            array(item.get(), element, delimiter, out)?;
            continue;
        }
        match value(item, element)? {
            Some(text) => quote(&text, out),
            None => out.push_str("NULL"),
        }
    }
    out.push('}');
    Ok(())
}

/// `("a","b",)`. Source: <https://www.postgresql.org/docs/current/rowtypes.html>.
fn composite(json: &str, fields: &[(String, Shape)]) -> Result<String, Unfit> {
    let Fields(given) = serde_json::from_str(json).map_err(|_| Unfit::Json)?;
    let mut out = String::from("(");
    for (index, (name, shape)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let field = given.iter().find(|field| *field.name == **name);
        if let Some(text) = field.map(|field| value(field.value, shape)).transpose()?.flatten() {
            quote(&text, &mut out);
        }
    }
    out.push(')');
    Ok(out)
}

/// `"a"=>"b", "c"=>NULL`. Source: <https://www.postgresql.org/docs/current/hstore.html>.
fn hstore(json: &str) -> Result<String, Unfit> {
    let Fields(pairs) = serde_json::from_str(json).map_err(|_| Unfit::Json)?;
    let mut out = String::new();
    for (index, field) in pairs.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote(&field.name, &mut out);
        out.push_str("=>");
        match value(field.value, &Shape::Plain)? {
            Some(text) => quote(&text, &mut out),
            None => out.push_str("NULL"),
        }
    }
    Ok(out)
}

/// Arrays, composites and hstore quote alike.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, shape: &Shape, expected: Result<Option<&str>, Unfit>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(value(raw, shape), expected.map(|text| text.map(Cow::Borrowed)), "{json}");
    }

    fn list(element: Shape) -> Shape {
        Shape::Array { element: Box::new(element), delimiter: ',' }
    }

    #[test]
    fn scalars_go_as_they_are_written() {
        for (json, text) in [
            ("12.50", "12.50"),
            ("1e400", "1e400"),
            ("true", "true"),
            (r#""NaN""#, "NaN"),
            (r#""a\"\n\u00e9""#, "a\"\né"),
            (r#"{"a": 1.0}"#, r#"{"a": 1.0}"#),
            ("[1, 2]", "[1, 2]"),
        ] {
            check(json, &Shape::Plain, Ok(Some(text)));
        }
        check("null", &Shape::Plain, Ok(None));
    }

    #[test]
    fn json_is_kept_and_bytes_become_hex() {
        check(r#""a""#, &Shape::Json, Ok(Some(r#""a""#)));
        check(r#"{"a":"\u0000"}"#, &Shape::Json, Ok(Some(r#"{"a":"\u0000"}"#)));
        check("null", &Shape::Json, Ok(None));
        check(r#""AP8Q""#, &Shape::Bytea, Ok(Some("\\x00ff10")));
        check(r#""""#, &Shape::Bytea, Ok(Some("\\x")));
        check(r#""***""#, &Shape::Bytea, Err(Unfit::Base64));
        let raw: &RawValue = serde_json::from_str("null").unwrap();
        let name = Text(Cow::Borrowed("j"));
        let field = Field { name, value: raw, is_json_null: true };
        assert_eq!(of(&field, &Shape::Json), Ok(Some(Cow::Borrowed("null"))));
        assert_eq!(of(&field, &Shape::Plain), Ok(None));
    }

    #[test]
    fn what_is_nested_is_quoted() {
        check("[]", &list(Shape::Plain), Ok(Some("{}")));
        check(r#"[1,null,"a,b","NULL",""]"#, &list(Shape::Plain), {
            Ok(Some(r#"{"1",NULL,"a,b","NULL",""}"#))
        });
        check("[[1,2],[3,4]]", &list(Shape::Plain), Ok(Some(r#"{{"1","2"},{"3","4"}}"#)));
        check(r#"[{"a":[1]},[2]]"#, &list(Shape::Json), Ok(Some(r#"{"{\"a\":[1]}","[2]"}"#)));
        check(r#"[["AP8="]]"#, &list(Shape::Bytea), Ok(Some(r#"{{"\\x00ff"}}"#)));
        let boxes = Shape::Array { element: Box::new(Shape::Plain), delimiter: ';' };
        check(r#"["(1,1),(0,0)","(2,2),(1,1)"]"#, &boxes, {
            Ok(Some(r#"{"(1,1),(0,0)";"(2,2),(1,1)"}"#))
        });
        let pair = Shape::Composite(vec![
            ("n".to_owned(), Shape::Plain),
            ("t".to_owned(), list(Shape::Plain)),
            ("z".to_owned(), Shape::Plain),
        ]);
        check(r#"{"z":"","t":["x\"y"],"n":null}"#, &pair, Ok(Some(r#"(,"{\"x\\\"y\"}","")"#)));
        check(r#"{"a":"b\"","c":null}"#, &Shape::Hstore, Ok(Some(r#""a"=>"b\"","c"=>NULL"#)));
        check("{}", &Shape::Hstore, Ok(Some("")));
        check(r#""as is""#, &list(Shape::Plain), Ok(Some("as is")));
    }
}
