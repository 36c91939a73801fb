//! `${VAR}`, `${VAR:-default}` and `${file:PATH}` inside strings, replaced after parsing.

use std::path::Path;

/// Where the values come from: the process's environment and the folder of the config file.
pub struct Environment<'a> {
    /// Returns the value of a variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What relative paths are relative to.
    pub folder: &'a Path,
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Replaces every `${…}` in `text`. `$${` stands for a plain `${`.
///
/// # Errors
/// One sentence for each that could not be replaced.
pub(super) fn interpolate(text: &str, from: &Environment<'_>) -> Result<String, Vec<String>> {
    replace(text, |name| resolve(name, from))
}

/// Makes every `$${` a plain `${`, and takes nothing else.
///
/// # Errors
/// One sentence where something was to be replaced.
pub(super) fn plain(text: &str) -> Result<String, Vec<String>> {
    const REFUSED: &str = "of what is tried nothing is read from the environment or a file: write \
                           the value itself, or \"$${\" for a plain \"${\"";
    replace(text, |_| Err(REFUSED.to_owned())).map_err(|_| vec![REFUSED.to_owned()])
}

fn replace(
    text: &str,
    value: impl Fn(&str) -> Result<String, String>,
) -> Result<String, Vec<String>> {
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, behind) = rest.split_at(at);
        let behind = behind.get(2..).unwrap_or_default();
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = behind;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            problems.push("\"${\" without its \"}\"; for a plain \"${\" write \"$${\"".to_owned());
            rest = "";
            break;
        };
        match value(name) {
            Ok(value) => out.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = after;
    }
    out.push_str(rest);
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

fn resolve(name: &str, from: &Environment<'_>) -> Result<String, String> {
    if let Some(path) = name.strip_prefix("file:") {
        let text = std::fs::read_to_string(from.folder.join(path))
            .map_err(|error| format!("cannot read the file of \"${{{name}}}\": {error}"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        return Ok(text.strip_suffix('\r').unwrap_or(text).to_owned());
    }
    let (variable, default) = match name.split_once(":-") {
        Some((variable, default)) => (variable, Some(default)),
        None => (name, None),
    };
    let well_formed = variable.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Err(format!(
            "\"${{{name}}}\" names no variable; write \"${{VAR}}\", \"${{VAR:-default}}\" or \
             \"${{file:PATH}}\""
        ));
    }
    match ((from.variable)(variable), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable \"{variable}\" is not set; set it, or give it a default: \
             \"${{{variable}:-…}}\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, Vec<String>> {
        let variable = |name: &str| match name {
            "TOKEN" => Some("s3cret".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        interpolate(text, &Environment { variable: &variable, folder: Path::new("/nowhere") })
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        for (text, expected) in [
            ("plain $5 {x}", "plain $5 {x}"),
            ("Bearer ${TOKEN}!", "Bearer s3cret!"),
            ("${TOKEN}${TOKEN}", "s3crets3cret"),
            ("${NOPE:-a:-b}", "a:-b"),
            ("${EMPTY:-x}|${EMPTY}|", "x||"),
            ("$${TOKEN}", "${TOKEN}"),
            ("${NOPE:-}", ""),
        ] {
            assert_eq!(run(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn each_that_is_missing_is_told() {
        assert_eq!(run("${A} ${B} ${TOKEN}").unwrap_err().len(), 2);
        assert!(run("${A").unwrap_err()[0].contains("without its"));
        assert!(run("${a b}").unwrap_err()[0].contains("names no variable"));
        assert!(run("${file:gone}").unwrap_err()[0].starts_with("cannot read the file"));
    }

    #[test]
    fn a_file_is_taken_without_its_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "abc\ndef\n").unwrap();
        let from = Environment { variable: &|_| None, folder: folder.path() };
        assert_eq!(interpolate("<${file:token}>", &from).as_deref(), Ok("<abc\ndef>"));
    }
}
