use std::os::unix::fs::PermissionsExt;

use super::meta::Identity;
use super::*;

fn insert(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO known (kind, name, first_seen) VALUES ('sink', ?1, 0)";
    connection.execute(sql, [name]).map(drop)
}

fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM known ORDER BY name")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    state.write(|c| insert(c, "crm")).await.unwrap();
    drop(state);
    let state = State::open(folder.path()).unwrap();
    assert_eq!(state.read(names).await.unwrap(), ["crm"]);
}

#[tokio::test]
async fn an_error_of_one_request_undoes_that_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let writes = (0..50).map(|n| {
        state.write(move |c| {
            insert(c, &format!("sink{n:02}"))?;
            if n % 2 == 0 { Err(rusqlite::Error::QueryReturnedNoRows) } else { Ok(n) }
        })
    });
    let results = futures_util::future::join_all(writes).await;
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.is_ok(), n % 2 == 1, "{n}");
    }
    assert_eq!(state.read(names).await.unwrap().len(), 25);
}

#[tokio::test]
async fn requests_that_wait_together_are_committed_together() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let first = state.write(move |_| {
        held.recv().unwrap();
        Ok(())
    });
    let rest = (0..100).map(|n| state.write(move |c| insert(c, &format!("sink{n}"))));
    let rest = futures_util::future::join_all(rest);
    // The last of them still sees nothing committed of the others.
    let reader = State::open_reader(folder.path()).unwrap();
    let last = state.write(move |_| Ok(reader.read(names).unwrap().len()));
    let (first, rest, last, ()) = tokio::join!(first, rest, last, async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        release.send(()).unwrap();
    });
    first.unwrap();
    assert!(rest.iter().all(Result::is_ok));
    assert_eq!(last.unwrap(), 0);
    assert_eq!(state.read(names).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_second_instance_is_told_that_the_folder_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let Err(Error::Locked { holder, .. }) = State::open(folder.path()) else { panic!() };
    assert_eq!(holder, Some(std::process::id()));
    drop(state);
    State::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_reader_sees_what_a_running_instance_wrote_and_works_without_one() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(State::open_reader(folder.path()), Err(Error::Missing { .. })));
    let state = State::open(folder.path()).unwrap();
    state.write(|c| insert(c, "crm")).await.unwrap();
    let reader = State::open_reader(folder.path()).unwrap();
    assert_eq!(reader.read(names).unwrap(), ["crm"]);
    assert!(reader.read(|c| insert(c, "no")).is_err());
    drop((state, reader));
    assert_eq!(State::open_reader(folder.path()).unwrap().read(names).unwrap(), ["crm"]);
}

#[tokio::test]
async fn folder_and_files_are_for_their_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/state");
    let state = State::open(&folder).unwrap();
    state.write(|c| insert(c, "crm")).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_schema_of_the_future_and_a_foreign_database_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(State::open(folder.path()).unwrap());
    let path = folder.path().join("walgate.db");
    let set = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    set("PRAGMA user_version = 99");
    let newer = |error| matches!(error, Error::NewerSchema { found: 99, .. });
    assert!(newer(State::open(folder.path()).unwrap_err()));
    assert!(newer(State::open_reader(folder.path()).unwrap_err()));
    set("PRAGMA user_version = 1; PRAGMA application_id = 5");
    assert!(matches!(State::open(folder.path()), Err(Error::NotOurs { .. })));
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    assert!(State::open(folder.path()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), [b'x'; 4096]);
}

#[tokio::test]
async fn meta_remembers_whose_state_it_is_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert_eq!(state.read(meta::load).await.unwrap(), meta::Meta::default());
    let identity = Identity {
        system_id: "7444001122334455667".into(),
        timeline: 1,
        began: Lsn(0),
        started: "1.5".into(),
        database: "shop".into(),
        slot: "walgate".into(),
    };
    let stored = identity.clone();
    let top = Lsn(0xFFFF_FFFF_0000_0000 >> 1);
    state
        .write(move |c| {
            meta::set_identity(c, &stored)?;
            meta::set_received(c, top)?;
            meta::set_received(c, Lsn(5))?;
            meta::set_confirmed(c, Lsn(7))
        })
        .await
        .unwrap();
    let found = state.read(meta::load).await.unwrap();
    assert_eq!(found.identity.as_ref(), Some(&identity));
    assert_eq!((found.received, found.confirmed), (top, Lsn(7)));
    let promoted = Identity { timeline: 2, began: Lsn(9), ..identity.clone() };
    assert!(identity.agrees_with(&promoted).is_ok());
    let other = Identity { system_id: "1".into(), ..identity.clone() };
    let Err(Error::OtherSource { what, .. }) = identity.agrees_with(&other) else { panic!() };
    assert_eq!(what, "system identifier");
}

#[tokio::test]
async fn an_intent_replaces_the_one_before_and_is_gone_when_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert_eq!(state.read(intent::load).await.unwrap(), None);
    for lsn in [Lsn(7), Lsn(5)] {
        let intent = intent::Intent {
            system_id: "7".into(),
            database: "shop".into(),
            slot: "walgate".into(),
            lsn,
        };
        let stored = intent.clone();
        state.write(move |c| intent::set(c, &stored)).await.unwrap();
        assert_eq!(state.read(intent::load).await.unwrap(), Some(intent));
    }
    state.write(intent::clear).await.unwrap();
    assert_eq!(state.read(intent::load).await.unwrap(), None);
}
