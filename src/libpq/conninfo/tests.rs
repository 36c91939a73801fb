use std::os::unix::fs::PermissionsExt;

use super::*;

fn parse(text: &str) -> Conninfo {
    Conninfo::parse(text, &Environment::of([("USER", "me")])).unwrap()
}

fn refused(text: &str) -> String {
    Conninfo::parse(text, &Environment::default()).unwrap_err().to_string()
}

fn named(conninfo: &Conninfo) -> Vec<(&str, u16)> {
    conninfo.hosts.iter().map(|host| (host.name.as_str(), host.port)).collect()
}

fn password(conninfo: &Conninfo) -> Option<&str> {
    conninfo.hosts[0].password.as_ref().map(Secret::expose)
}

#[test]
fn a_url_and_pairs_say_the_same() {
    for text in [
        "postgresql://u%40x:p%3Aw@h1:1,h2:2/d%20b?sslmode=require&application_name=a%20b",
        "host=h1,h2 port=1,2 user=u@x password=p:w dbname='d b' sslmode = require \
         application_name='a b'",
    ] {
        let conninfo = parse(text);
        assert_eq!(named(&conninfo), [("h1", 1), ("h2", 2)], "{text}");
        assert_eq!(conninfo.user, "u@x");
        assert_eq!(conninfo.database, "d b");
        assert_eq!(password(&conninfo), Some("p:w"));
        assert_eq!(conninfo.tls.mode, SslMode::Require);
        assert_eq!(conninfo.application_name, "a b");
    }
}

#[test]
fn ipv6_sockets_and_one_port_for_all_hosts_are_understood() {
    assert_eq!(named(&parse("postgres://[::1]:7,[fe80::1]/x")), [("::1", 7), ("fe80::1", 5432)]);
    let socket = parse("postgres://%2Frun%2Fpg:7/x?user=u");
    assert_eq!(named(&socket), [("/run/pg", 7)]);
    assert_eq!(socket.hosts[0].socket_path(), Some("/run/pg/.s.PGSQL.7".into()));
    assert_eq!(named(&parse("host=a,b port=9")), [("a", 9), ("b", 9)]);
    assert_eq!(named(&parse("postgres://u@/x?host=/run/pg")), [("/run/pg", 5432)]);
}

#[test]
fn quotes_and_backslashes_keep_their_content() {
    let conninfo = parse(r"host=h user='a\'b' password=x\ y options='-c a=b'");
    assert_eq!(conninfo.user, "a'b");
    assert_eq!(password(&conninfo), Some("x y"));
    assert_eq!(conninfo.options, "-c a=b");
}

#[test]
fn the_environment_fills_what_the_string_leaves_open() {
    let environment = Environment::of([
        ("PGHOST", "db"),
        ("PGPORT", "7"),
        ("PGUSER", "eve"),
        ("PGPASSWORD", "pw"),
        ("PGSSLMODE", "disable"),
    ]);
    let conninfo = Conninfo::parse("", &environment).unwrap();
    assert_eq!(named(&conninfo), [("db", 7)]);
    assert_eq!((conninfo.user.as_str(), conninfo.database.as_str()), ("eve", "eve"));
    assert_eq!(password(&conninfo), Some("pw"));
    assert_eq!(conninfo.tls.mode, SslMode::Disable);
    let conninfo = Conninfo::parse("host=other user=u sslmode=require", &environment).unwrap();
    assert_eq!(named(&conninfo), [("other", 7)]);
    assert_eq!(conninfo.tls.mode, SslMode::Require);
}

#[test]
fn the_password_file_is_asked_line_by_line_and_must_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pass");
    let lines = "# no\nother:*:*:*:wrong\nh:5432:d:u:one\\:two\\\\\n*:*:*:*:any\n";
    std::fs::write(&path, lines).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    let text = |host: &str| format!("host={host} user=u dbname=d passfile={}", path.display());
    mode(0o600);
    assert_eq!(password(&parse(&text("h"))), Some("one:two\\"));
    assert_eq!(password(&parse(&text("h2"))), Some("any"));
    assert_eq!(password(&parse(&format!("{} password=mine", text("h")))), Some("mine"));
    mode(0o644);
    assert_eq!(password(&parse(&text("h"))), None);
}

#[test]
fn what_is_wrong_is_said_without_showing_a_value() {
    for (text, expected) in [
        (
            "host=h sslmoed=require",
            "unknown connection parameter \"sslmoed\"; did you mean \"sslmode\"?",
        ),
        (
            "postgres://u:pw@h/d?sslmode=s3cret",
            "connection parameter \"sslmode\" must be disable, allow, prefer, require, verify-ca or verify-full",
        ),
        (
            "postgres://u:p%w@h/d",
            "a % in the URL is not followed by two hex digits (write % as %25)",
        ),
        ("mysql://u@h/d", "the address must start with postgresql:// or postgres://"),
        (
            "host=h port=1,2",
            "connection parameter \"port\" must be one, or as many as there are hosts",
        ),
        ("host=h port=x", "connection parameter \"port\" must be a number from 1 to 65535"),
        ("host=h password='x", "a quoted value lacks its closing '"),
        ("just-a-host", "a key without = (is it meant as a URL?)"),
        (
            "host=h service=x",
            "connection parameter \"service\" is not supported: write the service's parameters out",
        ),
        (
            "host=h user=u sslrootcert=system sslmode=require",
            "connection parameter \"sslmode\" must be verify-full with sslrootcert=system",
        ),
        (
            "host=h user=u gssencmode=require",
            "connection parameter \"gssencmode\" must be \"disable\" or left out",
        ),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
}

/// A `?`, `&` or blank in a password that is not written as it should be parts it into keys.
#[test]
fn a_part_of_a_password_is_not_taken_for_a_key_that_may_be_shown() {
    for text in [
        "postgres://u:pa?hunter=2@h/d",
        "postgres://u:pa?x&hunter=2@h/d",
        "postgres://u@h/d?password=pa&hunter=2",
        "postgres://u@h/d?password=pa&Hunter_2=",
        "postgres://u@h/d?password=pa&hos=2",
        "host=h password=pa hunter=2",
    ] {
        let error = Conninfo::parse(text, &Environment::default()).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            let shown = shown.to_lowercase();
            assert!(!shown.contains("hunter") && !shown.contains("hos"), "{text}: {shown}");
        }
    }
}

#[test]
fn files_named_in_the_string_lie_beside_the_config() {
    let folder = Path::new("/etc/it's walgate");
    for (text, root, key) in [
        ("host=h sslrootcert=ca.pem sslkey=/k.pem", "/etc/it's walgate/ca.pem", "/k.pem"),
        (
            "postgres://u@h/d?sslkey=a%20b.pem&sslrootcert=x/ca.pem",
            "/etc/it's walgate/x/ca.pem",
            "/etc/it's walgate/a b.pem",
        ),
    ] {
        let tls = parse(&anchored(text, folder)).tls;
        assert_eq!((tls.root, tls.key), (Some(RootCert::File(root.into())), Some(key.into())));
    }
    for text in ["host=h sslrootcert=system", "postgres://u:p@h/d", "postgres://u:p%w@h/d?a"] {
        assert_eq!(anchored(text, folder), text);
    }
}

#[test]
fn a_password_never_shows_in_debug() {
    let conninfo = parse("postgres://u:hunter2@h/d");
    assert!(!format!("{conninfo:?}").contains("hunter2"));
    let environment = Environment::of([("PGPASSWORD", "hunter2")]);
    assert!(!format!("{environment:?}").contains("hunter2"));
}

#[test]
fn system_roots_ask_for_the_whole_check() {
    let tls = parse("host=h sslrootcert=system").tls;
    assert_eq!((tls.mode, tls.root), (SslMode::VerifyFull, Some(RootCert::System)));
}

#[test]
fn timeouts_follow_libpq() {
    let conninfo = parse("host=h connect_timeout=1 keepalives_idle=5 tcp_user_timeout=1500");
    assert_eq!(conninfo.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(conninfo.keepalives.unwrap().idle, Some(Duration::from_secs(5)));
    assert_eq!(conninfo.tcp_user_timeout, Some(Duration::from_millis(1500)));
    let conninfo = parse("host=h connect_timeout=0 keepalives=0 tcp_user_timeout=0");
    assert_eq!(conninfo.connect_timeout, None);
    assert_eq!(conninfo.keepalives, None);
    assert_eq!(conninfo.tcp_user_timeout, None);
}
