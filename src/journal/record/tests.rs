use proptest::prelude::*;

use super::*;
use crate::chunk::{Operation, Transaction};
use crate::lsn::{Oid, Xid};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity, TableName};

/// Returns a chunk of `rows` inserts of one transaction, whole or still open.
pub(in crate::journal) fn chunk(lsn: u64, seq: u32, rows: &[Vec<u8>], whole: bool) -> Chunk {
    let mut frames = Vec::new();
    let mut entries = Vec::new();
    for (row, seq) in rows.iter().zip(seq..) {
        entries.push(Entry {
            offset: u32::try_from(frames.len()).unwrap(),
            length: u32::try_from(row.len()).unwrap(),
            transaction: 0,
            relation: Some(0),
            seq,
            operation: Operation::Insert,
        });
        frames.extend_from_slice(row);
    }
    let transaction = Transaction {
        commit_lsn: Lsn(lsn),
        end_lsn: whole.then_some(Lsn(lsn + 8)),
        xid: Some(Xid(7)),
        commit_time: Some(Timestamp(lsn.cast_signed())),
    };
    Chunk {
        timeline: 1,
        frames: frames.into(),
        transactions: vec![transaction],
        relations: vec![Arc::new(relation())],
        entries,
        audience: whole.then(|| ["to-crm".to_owned(), String::new()].into()),
    }
}

fn relation() -> Relation {
    let array = Kind::Array { element: Box::new(Kind::Numeric), delimiter: b',' };
    let kind = Kind::Composite { fields: vec![("a".into(), array), ("b".into(), Kind::Hstore)] };
    let column = |name: &str, kind| Column {
        name: name.into(),
        type_oid: Oid(23),
        type_modifier: -1,
        in_identity: true,
        kind,
    };
    Relation {
        oid: Oid(16_384),
        namespace: "public".into(),
        name: "Order Items".into(),
        identity: ReplicaIdentity::Full,
        columns: vec![column("id", Kind::Integer), column("what", kind)],
        primary_key: vec![0],
        formerly: Some(TableName { namespace: "old".into(), name: "items".into() }),
    }
}

fn any_chunk() -> impl Strategy<Value = Chunk> {
    let row = prop::collection::vec(any::<u8>(), 0..40);
    let rows = prop::collection::vec((row, any::<u32>(), 0..6_usize, any::<bool>()), 0..30);
    (any::<u64>(), rows, any::<bool>(), any::<bool>()).prop_map(|(lsn, rows, whole, outside)| {
        let texts: Vec<_> = rows.iter().map(|(text, ..)| text.clone()).collect();
        let mut chunk = chunk(lsn >> 1, 0, &texts, whole);
        for (entry, (_, seq, operation, jump)) in chunk.entries.iter_mut().zip(&rows) {
            entry.operation = Operation::ALL[*operation];
            if *jump {
                (entry.seq, entry.transaction, entry.relation) = (*seq, *seq, Some(*seq));
                entry.offset ^= 1;
            }
            if entry.operation == Operation::Message {
                entry.relation = None;
            }
        }
        if outside {
            for transaction in &mut chunk.transactions {
                (transaction.xid, transaction.commit_time) = (None, None);
            }
        }
        chunk
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(chunk in any_chunk()) {
        let record = encode(&chunk).unwrap();
        prop_assert_eq!(decode(&record).unwrap(), chunk);
    }

    #[test]
    fn no_changed_byte_goes_unnoticed(chunk in any_chunk(), place: prop::sample::Index, bit in 0..8) {
        let mut record = encode(&chunk).unwrap();
        let place = place.index(record.len());
        record[place] ^= 1_u8 << bit;
        prop_assert!(decode(&record).is_err());
    }

    #[test]
    fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _any = decode(&bytes);
        let _any = body::decode(bytes.into());
    }

    #[test]
    fn a_damaged_body_behind_a_right_checksum_does_not_panic(
        chunk in any_chunk(), place: prop::sample::Index, byte: u8,
    ) {
        let mut raw = Vec::new();
        body::encode(&chunk, &mut raw).unwrap();
        let place = place.index(raw.len());
        raw[place] = byte;
        let _any = body::decode(raw.into());
    }
}

#[test]
fn a_record_cut_anywhere_is_an_error() {
    let record = encode(&chunk(9, 0, &[b"row".to_vec(), b"other".to_vec()], true)).unwrap();
    for length in 0..record.len() {
        assert!(decode(&record[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_extracted_change_keeps_its_place_its_shape_and_its_bytes() {
    let whole = chunk(9, 4, &[b"one".to_vec(), b"two".to_vec()], true);
    let entry = &whole.entries[1];
    let alone = decode(&encode(&extract(&whole, entry)).unwrap()).unwrap();
    let [cut] = &alone.entries[..] else { panic!() };
    assert_eq!(alone.frame(cut), b"two");
    assert_eq!(alone.event_id(cut), whole.event_id(entry));
    assert_eq!(alone.relation(cut), whole.relation(entry));
    assert_eq!(alone.frames.len(), 3);
}
