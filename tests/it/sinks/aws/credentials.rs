//! Where credentials come from: `walgate check` of a sink, in an environment of the test's making.
//! Who gives them out is played by a server of the test.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::receiver::{Receiver, Reply, Request};

/// A folder that is home to nobody, and the service that is asked with what was found.
struct Machine {
    home: TempDir,
    service: Receiver,
    /// Who gives credentials out.
    giver: Receiver,
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    fn new() -> Self {
        let service = Receiver::start();
        let summary = json!({ "StreamDescriptionSummary": { "StreamStatus": "ACTIVE" } });
        service.otherwise(Reply::ok().body(summary.to_string()));
        let home = tempfile::tempdir().unwrap();
        let variables = vec![("AWS_ENDPOINT_URL_KINESIS", service.url(""))];
        Self { home, service, giver: Receiver::start(), variables }
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.push((name, value.into()));
    }

    fn write(&self, path: &str, text: &str) -> String {
        let path = self.home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs `walgate check` with these keys of the sink; returns what it says of the sink: whether
    /// it is fine, and what was seen.
    #[track_caller]
    fn check(&self, keys: &str) -> (bool, String) {
        let config = format!(
            "[source]\nurl = \"postgres://nobody@127.0.0.1:9/none?connect_timeout=1\"\n\
             [sink.far]\n[sink.far.kinesis]\nstream = \"s\"\n{keys}\n\
             [[route]]\nname = \"r\"\ntable = \"public.t\"\nsink = \"far\"\n"
        );
        let path = self.write("walgate.toml", &config);
        let mut command = Command::new(env!("CARGO_BIN_EXE_walgate"));
        command.args(["check", "--json", "-c", &path]).current_dir(self.home.path());
        command.env_clear().env("HOME", self.home.path()).stdin(Stdio::null());
        command.env("AWS_REGION", "eu-central-1").env("PATH", std::env::var("PATH").unwrap());
        let output = command.envs(self.variables.iter().cloned()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        let checks = report["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["subject"] == "sink far");
        let found = found.unwrap_or_else(|| panic!("{report:#}"));
        (found["status"] == "ok", found["seen"].as_str().unwrap().to_owned())
    }

    /// Holds that the service was asked by this key, with this token.
    #[track_caller]
    fn asks_as(&self, keys: &str, id: &str, token: Option<&str>) {
        let (is_fine, seen) = self.check(keys);
        assert!(is_fine, "{seen}");
        let requests = self.service.journal().requests;
        let last = requests.last().unwrap();
        let who = last.header("authorization").unwrap();
        assert!(who.contains(&format!("Credential={id}/")), "{who}");
        assert_eq!(last.header("x-amz-security-token"), token);
    }

    #[track_caller]
    fn fails(&self, expected: &str) {
        let (is_fine, seen) = self.check("");
        assert!(!is_fine && seen.contains(expected), "{seen}");
    }

    fn given(&self) -> Vec<Request> {
        self.giver.journal().requests
    }
}

const KEYS: &str = "access_key_id = \"AKIACONFIG\"\nsecret_access_key = \"s\"";

/// What an agent answers. The end lies far away.
fn granted(id: &str) -> String {
    json!({
        "Code": "Success", "AccessKeyId": id, "SecretAccessKey": "s", "Token": "the token",
        "Expiration": "2999-01-01T00:00:00Z"
    })
    .to_string()
}

#[test]
fn the_config_goes_before_the_environment_and_that_before_a_profile() {
    let mut machine = Machine::new();
    machine.set("AWS_EC2_METADATA_DISABLED", "true");
    machine.fails("no credentials: set access_key_id and secret_access_key");
    let profiles = "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n\
                    [other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = s\n\
                    aws_session_token = t\n";
    machine.write(".aws/credentials", profiles);
    machine.asks_as("", "AKIADEFAULT", None);
    machine.asks_as("profile = \"other\"", "AKIAOTHER", Some("t"));
    machine.set("AWS_ACCESS_KEY_ID", "AKIAENV");
    machine.set("AWS_SECRET_ACCESS_KEY", "s");
    machine.asks_as("", "AKIAENV", None);
    machine.asks_as("profile = \"other\"", "AKIAOTHER", Some("t"));
    machine.asks_as(KEYS, "AKIACONFIG", None);
}

#[test]
fn a_profile_that_is_named_must_be_there_and_be_known() {
    let mut machine = Machine::new();
    machine.write(".aws/config", "[profile sso]\nsso_session = x\n");
    let elsewhere =
        machine.write("keys", "[a]\naws_access_key_id=AKIAA\naws_secret_access_key=s\n");
    machine.set("AWS_SHARED_CREDENTIALS_FILE", elsewhere);
    machine.set("AWS_PROFILE", "a");
    machine.asks_as("", "AKIAA", None);
    machine.set("AWS_PROFILE", "nobody");
    machine.fails("there is no profile `nobody`");
    machine.set("AWS_PROFILE", "sso");
    machine.fails("profile `sso` has `sso_session`, which walgate does not know");
}

#[test]
fn a_pod_shows_its_token_and_gets_a_role() {
    let mut machine = Machine::new();
    let token = machine.write("token", "of the pod\n");
    machine.set("AWS_WEB_IDENTITY_TOKEN_FILE", token);
    machine.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/walgate");
    machine.set("AWS_ENDPOINT_URL_STS", machine.giver.url(""));
    let answer = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAPOD</AccessKeyId>\
        <SecretAccessKey>s</SecretAccessKey><SessionToken>the token</SessionToken>\
        <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>\
        </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    machine.giver.next(Reply::ok().body(answer));
    machine.asks_as("", "ASIAPOD", Some("the token"));
    let asked = &machine.given()[0];
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(&asked.body).into_owned().collect();
    for (name, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("RoleArn", "arn:aws:iam::1:role/walgate"),
        ("WebIdentityToken", "of the pod"),
    ] {
        assert!(form.contains(&(name.to_owned(), value.to_owned())), "{form:?}");
    }
    assert_eq!(asked.header("authorization"), None);
    let no = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
    machine.giver.next(Reply::status(400).body(no));
    machine.fails("400 Bad Request: InvalidIdentityToken");
}

#[test]
fn a_container_asks_its_agent_with_the_token_that_it_was_given() {
    let mut machine = Machine::new();
    let token = machine.write("token", "Basic of the task\n");
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", machine.giver.url("/v1/credentials?x=1"));
    machine.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token);
    machine.giver.next(Reply::ok().body(granted("ASIATASK")));
    machine.asks_as("", "ASIATASK", Some("the token"));
    let asked = &machine.given()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/v1/credentials?x=1"));
    assert_eq!(asked.header("authorization"), Some("Basic of the task"));
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/credentials");
    machine.fails("neither https nor an agent's address");
}

#[test]
fn an_instance_asks_its_metadata_service_with_a_token_of_that() {
    let mut machine = Machine::new();
    machine.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.giver.url(""));
    for body in ["of the session", "walgate-role\n", &granted("ASIAINSTANCE")] {
        machine.giver.next(Reply::ok().body(body));
    }
    machine.asks_as("", "ASIAINSTANCE", Some("the token"));
    let given = machine.given();
    let asked: Vec<(&str, &str)> =
        given.iter().map(|asked| (asked.method.as_str(), asked.target.as_str())).collect();
    let roles = "/latest/meta-data/iam/security-credentials/";
    let role = format!("{roles}walgate-role");
    assert_eq!(asked, [("PUT", "/latest/api/token"), ("GET", roles), ("GET", &*role)]);
    assert!(given[0].header("x-aws-ec2-metadata-token-ttl-seconds").is_some());
    for request in &given[1..] {
        assert_eq!(request.header("x-aws-ec2-metadata-token"), Some("of the session"));
    }
    machine.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://10.0.0.1");
    machine.fails("is not an address of that service");
}

#[test]
fn credentials_that_have_ended_are_asked_for_anew() {
    let mut machine = Machine::new();
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", machine.giver.url("/v1"));
    machine.giver.next(Reply::ok().body(granted("ASIAOLD")));
    machine.giver.next(Reply::ok().body(granted("ASIANEW")));
    let ended = json!({ "__type": "ExpiredTokenException" }).to_string();
    machine.service.next(Reply::status(400).body(ended));
    machine.asks_as("", "ASIANEW", Some("the token"));
    assert_eq!((machine.given().len(), machine.service.journal().requests.len()), (2, 2));
}

/// A path is not shown, so that no secret in one is.
#[test]
fn what_is_said_of_credentials_shows_none() {
    let mut machine = Machine::new();
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", machine.giver.url("/v1"));
    machine.giver.next(Reply::ok().body(granted("ASIAX").replace("Expiration", "End")));
    let (is_fine, seen) = machine.check("");
    assert!(!is_fine && seen.contains("answered without any"), "{seen}");
    assert!(!seen.contains("the token"), "{seen}");
    assert!(Path::new(machine.home.path()).exists());
}
