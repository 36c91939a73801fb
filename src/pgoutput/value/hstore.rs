//! hstore: `"a"=>"1", "b"=>NULL` becomes an object of strings and nulls.

use super::array::read_quoted;
use super::write_text_json;

/// Appends an hstore as an object. Returns false when the text is none.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = text;
    out.push(b'{');
    while !rest.is_empty() {
        if rest.len() < text.len() {
            let Some(behind) = rest.strip_prefix(b", ") else { return false };
            rest = behind;
            out.push(b',');
        }
        let Some(key) = read_quoted(&mut rest) else { return false };
        write_text_json(&key, out);
        out.push(b':');
        let Some(behind) = rest.strip_prefix(b"=>") else { return false };
        rest = behind;
        if let Some(behind) = rest.strip_prefix(b"NULL") {
            rest = behind;
            out.extend_from_slice(b"null");
        } else {
            let Some(value) = read_quoted(&mut rest) else { return false };
            write_text_json(&value, out);
        }
    }
    out.push(b'}');
    true
}
