//! Values as servers send them; what real servers say of thousands more is held in `tests/it`.

use proptest::prelude::*;

use super::*;
use crate::change::Cell;
use crate::lsn::Oid;
use crate::pgoutput::build;

#[track_caller]
fn check(form: &Form, value: &[u8], expected: &str) {
    let mut out = b"before".to_vec();
    write_text(form, value, &mut out).unwrap();
    assert_eq!(String::from_utf8(out[6..].to_vec()).unwrap(), expected);
}

#[test]
fn floats_are_printed_with_the_fewest_digits_that_read_back_any_way() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (123_456_789_012_345.0, "123456789012345"),
        (1e15, "1e+15"),
        (0.0001, "0.0001"),
        (0.000_01, "1e-05"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        // 2^-24: the even digits would be those of the float below.
        (5.960_464_477_539_063e-8, "5.960464477539063e-08"),
        // In the middle of two floats.
        (1e23, "9.999999999999999e+22"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        check(&Form::Float8, &value.to_be_bytes(), expected);
    }
    for (value, expected) in [
        (0.1_f32, "0.1"),
        (16_777_216.0, "1.6777216e+07"),
        (100_000.0, "100000"),
        (1e6, "1e+06"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
        // Between two of eight digits.
        (3_054_727.0 + 0.25, "3.0547272e+06"),
        (3_054_727.0 + 0.75, "3.0547278e+06"),
    ] {
        check(&Form::Float4, &value.to_be_bytes(), expected);
    }
}

#[test]
fn a_numeric_keeps_its_scale() {
    let numeric = |weight: i16, sign: u16, scale: u16, digits: &[u16]| {
        let count = u16::try_from(digits.len()).unwrap();
        let mut bytes = count.to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend([sign, scale].iter().chain(digits).flat_map(|part| part.to_be_bytes()));
        bytes
    };
    check(&Form::Numeric, &numeric(0, 0, 2, &[12, 5000]), "12.50");
    check(&Form::Numeric, &numeric(0, 0x4000, 0, &[7]), "-7");
    check(&Form::Numeric, &numeric(0, 0, 3, &[]), "0.000");
    check(&Form::Numeric, &numeric(2, 0, 0, &[1]), "100000000");
    check(&Form::Numeric, &numeric(-2, 0, 6, &[100]), "0.000001");
    check(&Form::Numeric, &numeric(0, 0xC000, 0, &[]), "NaN");
    check(&Form::Numeric, &numeric(0, 0xF000, 0, &[]), "-Infinity");
}

#[test]
fn an_ipv6_address_is_shortened_as_the_server_does() {
    let inet = |words: [u16; 8]| {
        let mut bytes = vec![3, 128, 0, 16];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    };
    for (words, expected) in [
        ([0; 8], "::"),
        ([0, 0, 0, 0, 0, 0, 0, 1], "::1"),
        ([0, 0, 0, 0, 0, 0, 0, 5], "::5"),
        ([0x2001, 0xDB8, 0, 0, 1, 0, 0, 1], "2001:db8::1:0:0:1"),
        ([1, 0, 2, 3, 4, 5, 6, 7], "1:0:2:3:4:5:6:7"),
        ([1, 0, 0, 0, 0, 0, 0, 0], "1::"),
        ([0, 0, 0, 0, 0, 0xFFFF, 0x102, 0x304], "::ffff:1.2.3.4"),
        ([0, 0, 0, 0, 0, 0, 0x102, 0x304], "::1.2.3.4"),
    ] {
        check(&Form::Inet, &inet(words), expected);
    }
}

#[test]
fn a_type_that_is_not_known_is_named() {
    let form = Form::Unknown("regclass".into());
    let error = write_text(&form, b"\0\0\0\x01", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "walgate does not know the binary form of type regclass");
}

/// What a field's type is found to be in this database counts before what it is in most: money was
/// printed as C does within a composite, whatever `lc_monetary` says.
#[test]
fn a_field_whose_form_is_not_known_here_is_named() {
    let value = [&1_i32.to_be_bytes()[..], &790_i32.to_be_bytes(), &8_i32.to_be_bytes(), &[0; 8]];
    let value = value.concat();
    check(&Form::Record { fields: Vec::new() }, &value, "($0.00)");
    let money = Form::Unknown("money".into());
    let form = Form::Record { fields: vec![(Oid(790), money)] };
    assert!(matches!(write_text(&form, &value, &mut Vec::new()), Err(Error::NoForm(_))));
}

#[test]
fn a_frame_becomes_text_and_keeps_what_is_text_already() {
    let mut binary = Vec::new();
    let cells = [Cell::Value(b"\0\0\0\x07"), Cell::Null, Cell::Value(b"text"), Cell::Unchanged];
    build::insert(Oid(9), &cells, &mut binary).unwrap();
    // The first value is binary, the third is not.
    let place = binary.iter().position(|byte| *byte == b't').unwrap();
    binary[place] = b'b';
    let forms = [Form::Int4, Form::Int4, Form::Int4, Form::Bytea];
    let (mut expected, mut out) = (b"kept".to_vec(), b"kept".to_vec());
    let cells = [Cell::Value(b"7"), Cell::Null, Cell::Value(b"text"), Cell::Unchanged];
    build::insert(Oid(9), &cells, &mut expected).unwrap();
    text_frame(&binary, &forms, &mut out).unwrap();
    assert_eq!(out, expected);
    let forms = [Form::Unknown("x".into()), Form::Int4, Form::Int4, Form::Bytea];
    let problem = text_frame(&binary, &forms, &mut Vec::new()).unwrap_err();
    assert_eq!(problem.column, Some(0));
}

fn any_form() -> impl Strategy<Value = Form> {
    let oids: Vec<Form> = (0..6200).filter_map(|oid| built_in(Oid(oid))).collect();
    prop_oneof![
        prop::sample::select(oids),
        Just(Form::Hstore),
        Just(Form::Record { fields: vec![] })
    ]
}

#[test]
fn a_query_may_have_thousands_of_terms() {
    const TERMS: usize = 5000;
    let mut value = u32::try_from(TERMS * 2 - 1).unwrap().to_be_bytes().to_vec();
    (1..TERMS).for_each(|_| value.extend_from_slice(b"\x02\x02\x01\0\0a\0"));
    value.extend_from_slice(b"\x01\0\0a\0");
    check(&Form::TsQuery, &value, &["'a'"; TERMS].join(" & "));
}

proptest! {
    #[test]
    fn no_bytes_panic_or_cost_memory(
        form in any_form(), value in prop::collection::vec(any::<u8>(), 0..60)
    ) {
        let mut out = Vec::new();
        let _ = write_text(&form, &value, &mut out);
        prop_assert!(out.len() < 1 << 20, "{}", out.len());
    }

    #[test]
    fn a_float_reads_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        let mut out = Vec::new();
        write_text(&Form::Float8, &bits.to_be_bytes(), &mut out).unwrap();
        let read: f64 = String::from_utf8(out).unwrap().parse().unwrap();
        prop_assert!(read.to_bits() == bits || value.is_nan());
    }
}
