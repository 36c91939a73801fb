//! The page that lists every key, from the description of the keys.

use std::fmt::Write as _;

use super::keys::{Key, Otherwise, ROOT, Section, Shape};

const INTRODUCTION: &str = "\
# Configuration

One TOML file, `walgate.toml` unless `-c` names another. It is strict: every problem is told at \
once, with line, column and the cure, and nothing is guessed.

- `${VAR}`, `${VAR:-default}` and `${file:PATH}` are replaced inside strings after the file was \
read: a value can't bring TOML of its own. One that is not there is a problem.
- Relative paths are relative to the folder of the file.
- Durations are `250ms`, `1s`, `5m`, `7d`; sizes `64KiB`, `10GiB`; rates `50/s`, `1000/m`.
- Names of tables and columns are written as SQL would quote them: `public.customers`, \
`sales.\"Order Items\"`.
- `walgate schema` prints the JSON Schema, for editors that complete.

This page is made by `walgate schema --markdown`.
";

/// Returns every key of the config as a page of Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, &ROOT, "walgate.toml");
    page
}

fn section(page: &mut String, section_: &Section, path: &str) {
    // Writing to a String can't fail.
    let _ = write!(page, "\n## `{path}`\n\n| key | form | default | meaning |\n");
    page.push_str("| --- | --- | --- | --- |\n");
    let (later, here): (Vec<_>, Vec<_>) =
        section_.keys.iter().partition(|key| key.otherwise == Otherwise::Later);
    for key in &here {
        let default = match key.otherwise {
            Otherwise::Required => "required".to_owned(),
            Otherwise::Toml(text) => format!("`{text}`"),
            Otherwise::None | Otherwise::Later => "–".to_owned(),
        };
        let doc = key.doc.replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | {} | {default} | {doc} |", key.name, form(&key.shape));
    }
    if !later.is_empty() {
        let names: Vec<String> = later.iter().map(|key| format!("`{}`", key.name)).collect();
        let _ = write!(page, "\nNot in this version: {}.\n", names.join(", "));
    }
    here.into_iter().for_each(|key| below(page, key, path));
}

/// The tables that a key opens.
fn below(page: &mut String, key: &Key, path: &str) {
    let parent = path.trim_matches(|sign| sign == '[' || sign == ']');
    let name =
        if path == "walgate.toml" { key.name.to_owned() } else { format!("{parent}.{}", key.name) };
    match key.shape {
        Shape::Table(inner) => section(page, inner, &format!("[{name}]")),
        Shape::Named(inner) => section(page, inner, &format!("[{name}.NAME]")),
        Shape::List(Shape::Table(inner)) => section(page, inner, &format!("[[{name}]]")),
        _ => {}
    }
}

fn form(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Secret => "string".to_owned(),
        Shape::Path => "path".to_owned(),
        Shape::Integer(min, u32::MAX) => format!("integer from {min}"),
        Shape::Integer(min, max) => format!("{min} … {max}"),
        Shape::Boolean => "boolean".to_owned(),
        Shape::Ratio => "number above 0, up to 1".to_owned(),
        Shape::Duration(_) => "duration".to_owned(),
        Shape::Size => "size".to_owned(),
        Shape::Rate | Shape::ByteRate => "rate".to_owned(),
        Shape::Word(words, _) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(", ")
        }
        Shape::Any | Shape::Cell => "any".to_owned(),
        Shape::Table(_) | Shape::Named(_) | Shape::Secrets | Shape::Values | Shape::Cells => {
            "table".to_owned()
        }
        Shape::List(inner) => format!("list of {}", form(inner)),
        Shape::Either(shapes) => {
            let forms: Vec<String> = shapes
                .iter()
                .map(|shape| match shape {
                    Shape::Table(inner) => {
                        let keys: Vec<_> = inner.keys.iter().map(|key| key.name).collect();
                        format!("`{{ {} = … }}`", keys.join(", "))
                    }
                    other => form(other),
                })
                .collect();
            forms.join(", or ")
        }
    }
}
