//! Who is let in, over what, and whom we let in ourselves.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use walgate::demo::cluster::Cluster;
use walgate::source::{Catalog, Ending, Error, OpenOptions, Resume, open};

use super::settings;

struct Certificate {
    pem: String,
    key: String,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, host: &[&str], common_name: &str) -> Certificate {
        let names: Vec<String> = host.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate { pem, key: key.serialize_pem() }
    }
}

/// A server that wants to know who comes, and files for its clients.
struct Guarded {
    cluster: Cluster,
    files: TempDir,
    authority: Authority,
}

const HBA: &[&str] = &[
    "host all scram 127.0.0.1/32 scram-sha-256",
    "host all md5 127.0.0.1/32 md5",
    "host all clear 127.0.0.1/32 password",
    "hostssl all cert 127.0.0.1/32 cert",
    "hostssl all tls 127.0.0.1/32 trust",
    "hostnossl all tls 127.0.0.1/32 reject",
    "hostnossl all plain 127.0.0.1/32 trust",
    "hostssl all plain 127.0.0.1/32 reject",
];

impl Guarded {
    async fn start() -> Self {
        let authority = Authority::new();
        let server = authority.sign(&["127.0.0.1"], "server");
        let mut builder = Cluster::builder().tls(&server.pem, &server.key, Some(&authority.pem));
        for line in HBA {
            builder = builder.hba(line);
        }
        let cluster = super::prepare(builder.start().await.unwrap()).await;
        cluster
            .execute(
                "CREATE ROLE scram LOGIN REPLICATION PASSWORD 'päss w';
                 CREATE ROLE clear LOGIN REPLICATION PASSWORD 'pw';
                 CREATE ROLE cert LOGIN REPLICATION; CREATE ROLE tls LOGIN REPLICATION;
                 CREATE ROLE plain LOGIN REPLICATION; CREATE ROLE weak LOGIN;
                 SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN REPLICATION PASSWORD 'pw'",
            )
            .await
            .unwrap();
        let files = TempDir::new().unwrap();
        let guarded = Self { cluster, files, authority };
        guarded.file("root.crt", &guarded.authority.pem);
        guarded
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    /// Fills in the address and the root certificate.
    fn text(&self, rest: &str) -> String {
        let root = self.files.path().join("root.crt");
        let rest = rest.replace("ROOT", &format!("sslrootcert={}", root.display()));
        let port = self.cluster.port();
        format!("hostaddr=127.0.0.1 port={port} dbname=postgres {rest}")
    }

    /// Logs in for SQL and for replication, which must go alike.
    async fn login(&self, rest: &str) -> Result<(), Error> {
        let text = self.text(rest);
        let sql = Box::pin(Catalog::connect(&text)).await;
        let mut settings = settings(&text);
        settings.slot = format!("s{}", fastrand::u32(..));
        let stream = Box::pin(open(&settings, &Resume::default(), OpenOptions::default())).await;
        match (sql, stream) {
            (Ok(mut catalog), Ok(stream)) => {
                drop(stream);
                let every = std::time::Duration::from_millis(20);
                catalog.wait_for_slot(&settings.slot, every).await.unwrap();
                catalog.drop_slot(&settings.slot).await
            }
            (Err(sql), Err(stream)) => {
                let kind = std::mem::discriminant::<Error>;
                assert_eq!(kind(&sql), kind(&stream), "{rest}: {sql:?}, {stream:?}");
                Err(stream)
            }
            (sql, stream) => panic!("{rest}: {sql:?}, {:?}", stream.err()),
        }
    }

    #[track_caller]
    fn check(rest: &str, result: &Result<(), Error>, expected: &str) {
        let seen = match result {
            Ok(()) => "in".to_owned(),
            Err(error) => format!("{error:?}").split([' ', '(']).next().unwrap().to_owned(),
        };
        assert_eq!(seen, expected, "{rest}: {result:?}");
    }
}

#[tokio::test]
async fn logins_are_as_libpq_has_them() {
    let guarded = Guarded::start().await;
    for (rest, expected) in [
        ("user=scram password='päss w' sslmode=disable", "in"),
        ("user=scram password='päss w' sslmode=require", "in"),
        ("user=scram password='päss w' sslmode=require channel_binding=disable", "in"),
        ("user=scram password='päss w' sslmode=require channel_binding=require", "in"),
        ("user=scram password=wrong sslmode=disable", "Login"),
        ("user=nobody_here password=x sslmode=disable", "Login"),
        ("user=md5 password=pw sslmode=disable", "in"),
        ("user=md5 password=wrong sslmode=disable", "Login"),
        ("user=clear password=pw sslmode=require", "in"),
        ("user=clear password=pw sslmode=disable", "Cleartext"),
        // sslmode decides what is tried, and in which order.
        ("user=tls sslmode=disable", "Login"),
        ("user=tls sslmode=allow", "in"),
        ("user=tls sslmode=prefer", "in"),
        ("user=tls sslmode=require", "in"),
        ("user=plain sslmode=prefer", "in"),
        ("user=plain sslmode=require", "Login"),
        // How far the certificate is looked at.
        ("user=tls sslmode=require ROOT", "in"),
        ("user=tls sslmode=verify-ca ROOT", "in"),
        ("user=tls sslmode=verify-full ROOT", "in"),
        ("host=localhost user=tls sslmode=verify-full ROOT", "Tls"),
        ("host=localhost user=tls sslmode=verify-ca ROOT", "in"),
        ("user=tls sslmode=verify-full", "Tls"),
        ("user=tls sslrootcert=system", "Tls"),
        ("user=cert sslmode=require", "Login"),
    ] {
        Guarded::check(rest, &guarded.login(rest).await, expected);
    }
}

#[tokio::test]
async fn certificates_are_checked_on_both_sides() {
    let guarded = Guarded::start().await;
    let client = guarded.authority.sign(&[], "cert");
    let certificate = guarded.file("client.crt", &client.pem);
    let key = guarded.file("client.key", &client.key);
    let rest = format!(
        "user=cert sslmode=verify-full ROOT sslcert={} sslkey={}",
        certificate.display(),
        key.display()
    );
    Guarded::check(&rest, &guarded.login(&rest).await, "in");

    let other = guarded.file("other.crt", &Authority::new().pem);
    for mode in ["require", "verify-ca", "verify-full"] {
        let rest = format!("user=tls sslmode={mode} sslrootcert={}", other.display());
        Guarded::check(&rest, &guarded.login(&rest).await, "Tls");
    }
    let rest = "user=tls sslmode=verify-full sslrootcert=/nowhere";
    let error = guarded.login(rest).await.unwrap_err();
    assert_eq!(error.ends_run(), Some(Ending::Preflight), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_bound_is_refused_when_binding_is_required() {
    let guarded = Guarded::start().await;
    for rest in [
        "user=scram password='päss w' sslmode=disable",
        "user=md5 password=pw sslmode=require",
        "user=tls sslmode=require",
    ] {
        let rest = format!("{rest} channel_binding=require");
        Guarded::check(&rest, &guarded.login(&rest).await, "ChannelBinding");
    }
}

#[tokio::test]
async fn the_password_file_the_socket_and_several_hosts_work() {
    let guarded = Guarded::start().await;
    let line = format!("127.0.0.1:{}:postgres:scram:päss w\n", guarded.cluster.port());
    let passfile = guarded.file("pass", &line);
    let rest = format!("user=scram passfile={}", passfile.display());
    Guarded::check(&rest, &guarded.login(&rest).await, "in");
    Guarded::check("", &guarded.login("user=scram").await, "NoPassword");

    let port = guarded.cluster.port();
    let folder = guarded.cluster.data().parent().unwrap().display();
    let socket = format!("host={folder} port={port} user=postgres dbname=postgres sslmode=require");
    Catalog::connect(&socket).await.unwrap();

    let hosts = |attributes: &str| {
        format!(
            "postgres://postgres@127.0.0.1:1,127.0.0.1:{port}/postgres\
             ?target_session_attrs={attributes}"
        )
    };
    for attributes in ["any", "read-write", "primary", "prefer-standby"] {
        Catalog::connect(&hosts(attributes)).await.unwrap();
        let settings = settings(&hosts(attributes));
        let stream = open(&settings, &Resume::default(), OpenOptions::default()).await;
        drop(stream.unwrap());
        let mut catalog = Catalog::connect(&hosts("any")).await.unwrap();
        let every = std::time::Duration::from_millis(20);
        catalog.wait_for_slot("walgate", every).await.unwrap();
        catalog.drop_slot("walgate").await.unwrap();
    }
    for attributes in ["standby", "read-only"] {
        let error = Catalog::connect(&hosts(attributes)).await.err().unwrap();
        assert!(matches!(error, Error::SessionAttributes { .. }), "{error:?}");
    }
}

/// A balancer hands every other connection to a server of its own.
#[tokio::test]
async fn two_servers_behind_one_address_are_told_apart() {
    let clusters = [super::cluster().await, super::cluster().await];
    let ports = clusters.each_ref().map(Cluster::port);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut balancer = JoinSet::new();
    balancer.spawn(async move {
        let mut connections = JoinSet::new();
        for to in ports.into_iter().cycle() {
            let (mut from, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut to = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let text = format!("host=localhost port={port} user=postgres sslmode=disable");
    let stream = open(&settings(&text), &Resume::default(), OpenOptions::default()).await;
    let error = stream.err().unwrap();
    assert!(matches!(error, Error::TwoServers { .. }), "{error:?}");
    assert!(error.ends_run().is_none());
    for cluster in &clusters {
        let slots = cluster.value("SELECT count(*)::text FROM pg_replication_slots").await;
        assert_eq!(slots.unwrap(), "0");
    }
}

#[tokio::test]
async fn a_role_without_the_right_to_replicate_is_told() {
    let guarded = Guarded::start().await;
    let text = guarded.text("user=weak");
    let stream = open(&settings(&text), &Resume::default(), OpenOptions::default()).await;
    let error = stream.err().unwrap();
    assert!(matches!(error, Error::Rights { .. }), "{error:?}");
    assert_eq!(error.ends_run(), Some(Ending::Preflight));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let text = "host=127.0.0.1 port=1 user=x";
    let stream = open(&settings(text), &Resume::default(), OpenOptions::default()).await;
    let error = stream.err().unwrap();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.ends_run().is_none());
}
