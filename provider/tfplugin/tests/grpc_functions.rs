//! Functions of the toy as a host calls them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "toy/host.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod host;
mod toy;

use std::process::Stdio;
use std::time::{Duration, Instant};

use host::{Host, msgpack};
use metal_proto::tfplugin6 as pb;

/// Unknown, as the protocol has it.
const UNKNOWN: [u8; 3] = [0xd4, 0, 0];
const NULL: [u8; 1] = [0xc0];

/// Text of at most 31 bytes.
fn text(text: &str) -> Vec<u8> {
    let length = 0xa0 + u8::try_from(text.len()).unwrap();
    [&[length], text.as_bytes()].concat()
}

/// A value with its type.
fn dynamic(ty: &str, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(ty.len()).unwrap();
    [&[0x92, 0xc4, length], ty.as_bytes(), value].concat()
}

/// The result's bytes, or the error: its argument and text.
async fn call(host: &mut Host, name: &str, arguments: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let request = pb::call_function::Request {
        name: name.to_owned(),
        arguments: arguments.iter().map(|a| msgpack(a)).collect(),
    };
    let answer = host
        .provider
        .call_function(request)
        .await
        .unwrap()
        .into_inner();
    match (answer.result, answer.error) {
        (Some(result), None) => Ok(result.msgpack),
        (None, Some(error)) => Err(match error.function_argument {
            Some(argument) => format!("[{argument}] {}", error.text),
            None => error.text,
        }),
        both => panic!("neither result nor error, or both: {both:?}"),
    }
}

#[tokio::test]
async fn signatures_are_as_hosts_accept_them() {
    let mut host = Host::unconfigured().await;
    let request = pb::get_functions::Request {};
    let answer = host
        .provider
        .get_functions(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.diagnostics, vec![]);
    let join = &answer.functions["join"];
    let [separator] = &join.parameters[..] else {
        panic!("{join:?}")
    };
    let parts = join.variadic_parameter.as_ref().unwrap();
    assert_eq!(
        (separator.allow_null_value, separator.allow_unknown_values),
        (true, false)
    );
    assert_eq!(
        (
            parts.name.as_str(),
            parts.r#type.as_slice(),
            parts.allow_null_value
        ),
        ("parts", &b"\"string\""[..], false)
    );
    assert!(
        parts
            .description
            .starts_with("What is joined. Must be made of elements, each at most 12")
    );
    assert_eq!(join.summary, "Joins words.");
    assert!(join.description.contains("Of `no` words"));
    let describe = &answer.functions["describe"].parameters[0];
    assert_eq!(
        (
            describe.allow_null_value,
            describe.allow_unknown_values,
            describe.r#type.as_slice()
        ),
        (true, true, &b"\"dynamic\""[..])
    );
    let grow = &answer.functions["grow"];
    assert_eq!(grow.deprecation_message, "Use arithmetic.");
    assert_eq!(
        grow.r#return.as_ref().unwrap().r#type,
        br#"["object",{"height":"number","width":"number"}]"#
    );
    // What a host learns from the schemas is the same.
    let request = pb::get_provider_schema::Request {};
    let schemas = host
        .provider
        .get_provider_schema(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(schemas.functions, answer.functions);
}

#[tokio::test]
async fn calls_return_results() {
    let mut host = Host::unconfigured().await;
    let h = &mut host;
    assert_eq!(call(h, "version", &[]).await, Ok(vec![1]));
    assert_eq!(call(h, "join", &[text("-")]).await, Ok(text("")));
    assert_eq!(
        call(h, "join", &[NULL.to_vec(), text("a"), text("b")]).await,
        Ok(text("a,b"))
    );
    // {height: 2, width: 3} grown by 4.
    let area = |width: u8| [&[0x82][..], &text("height"), &[2], &text("width"), &[width]].concat();
    assert_eq!(call(h, "grow", &[area(3), vec![4]]).await, Ok(area(7)));
}

#[tokio::test]
async fn null_and_unknown_are_the_engines() {
    let mut host = Host::unconfigured().await;
    let h = &mut host;
    let unknown = || UNKNOWN.to_vec();
    assert_eq!(
        call(h, "join", &[text("-"), unknown()]).await,
        Ok(unknown())
    );
    assert_eq!(
        call(h, "join", &[text("-"), unknown(), NULL.to_vec()]).await,
        Err("[2] it must not be null".into())
    );
    assert_eq!(call(h, "describe", &[unknown()]).await, Ok(text("unknown")));
    assert_eq!(
        call(h, "describe", &[NULL.to_vec()]).await,
        Ok(text("null"))
    );
    let number = dynamic("\"number\"", &[1]);
    assert_eq!(
        call(h, "describe", std::slice::from_ref(&number)).await,
        Ok(text("\"number\""))
    );
    let open = dynamic("[\"list\",\"bool\"]", &[0x91, 0xd4, 0, 0]);
    assert_eq!(call(h, "wrap", &[open]).await, Ok(unknown()));
    let wrapped = call(h, "wrap", &[number]).await.unwrap();
    let ty = r#"["object",{"note":"dynamic","twice":["tuple",["number","number"]]}]"#;
    let value = [
        &[0x82][..],
        &text("note"),
        &NULL,
        &text("twice"),
        &[0x92, 1, 1],
    ]
    .concat();
    assert_eq!(wrapped, dynamic(ty, &value));
}

#[tokio::test]
async fn errors_name_their_argument() {
    let mut host = Host::unconfigured().await;
    let h = &mut host;
    assert_eq!(
        call(h, "join", &[text("-"), text("a"), text("forbidden")]).await,
        Err("[2] this word is forbidden".into())
    );
    insta::assert_snapshot!(
        call(h, "join", &[text("-"), text("ok"), text("B"), text("c d")]).await.unwrap_err(),
        @r#"[2] must be at most 12 lower-case letters, digits and hyphens, not starting with a hyphen: "B" contains 'B'; argument 4 must be at most 12 lower-case letters, digits and hyphens, not starting with a hyphen: "c d" contains ' '"#
    );
    insta::assert_snapshot!(
        call(h, "break", &[text("dance")]).await.unwrap_err(),
        @r#"[0] must be one of `panic`, `lie`, `unknown`, `slow`, `deaf`, `fail`: "dance" is none of them"#
    );
    insta::assert_snapshot!(
        call(h, "break", &[text("fail")]).await.unwrap_err(),
        @r"
        Toy refuses: It was told to.

        Hint: tell it something else
        "
    );
    // A part that the Rust type cannot hold, where no validator looks.
    let area = [
        &[0x82][..],
        &text("height"),
        &[0xcd, 0xff, 0xff],
        &text("width"),
        &NULL,
    ]
    .concat();
    insta::assert_snapshot!(
        call(h, "grow", &[area, vec![4]]).await.unwrap_err(),
        @"[0] it needs a width and a height that is a whole number"
    );
}

#[tokio::test]
async fn wrong_calls_are_errors() {
    let mut host = Host::unconfigured().await;
    let h = &mut host;
    let said = call(h, "nothing", &[]).await.unwrap_err();
    assert!(
        said.contains("this provider has no function `nothing`"),
        "{said}"
    );
    assert_eq!(
        call(h, "version", &[text("x")]).await,
        Err("it takes exactly 0 arguments and was given 1".into())
    );
    assert_eq!(
        call(h, "grow", &[text("x")]).await,
        Err("it takes exactly 2 arguments and was given 1".into())
    );
    assert_eq!(
        call(h, "join", &[]).await,
        Err("it takes at least 1 argument and was given 0".into())
    );
    // Bytes that are no value: too short, too long, another type, a bomb of lengths, nothing.
    for bytes in [
        &[0xa5, b'x'][..],
        &[0xa1, b'x', 0],
        &[7],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xc1],
    ] {
        let said = call(h, "join", &[text("-"), bytes.to_vec()])
            .await
            .unwrap_err();
        assert!(
            said.starts_with("[1] the host sent a value that does not fit"),
            "{said}"
        );
    }
    // Nothing is null, as OpenTofu has it.
    assert_eq!(call(h, "join", &[Vec::new()]).await, Ok(text("")));
    assert_eq!(
        call(h, "join", &[text("-"), Vec::new()]).await,
        Err("[1] it must not be null".into())
    );
    // The process lives.
    assert_eq!(call(h, "version", &[]).await, Ok(vec![1]));
}

#[tokio::test]
async fn mistakes_of_the_author_are_told() {
    let mut host = Host::unconfigured().await;
    let h = &mut host;
    insta::assert_snapshot!(call(h, "break", &[text("lie")]).await.unwrap_err(),
        @"the provider made a mistake: its result does not have the declared type: expected a string. Report it to the provider's developers");
    insta::assert_snapshot!(call(h, "break", &[text("unknown")]).await.unwrap_err(),
        @"the provider made a mistake: its result is unknown although every argument is known. Report it to the provider's developers");
    let panicked = call(h, "break", &[text("panic")]).await.unwrap_err();
    assert!(panicked.contains("The provider panicked"), "{panicked}");
    assert!(!panicked.contains("stack backtrace"), "{panicked}");
}

#[tokio::test]
async fn calls_end_when_the_host_stops() {
    for (how, begun) in [("slow", "slow call begun"), ("deaf", "deaf call begun")] {
        let mut host = Host::with(&[("TF_LOG_PROVIDER", "INFO")], Stdio::piped()).await;
        let request = pb::call_function::Request {
            name: "break".into(),
            arguments: vec![msgpack(&text(how))],
        };
        let mut other = host.provider.clone();
        let asked = Instant::now();
        let stop = async {
            host.logged(begun).await;
            host.stop().await;
        };
        let (answer, ()) = tokio::join!(other.call_function(request), stop);
        let said = answer.unwrap().into_inner().error.unwrap().text;
        assert!(said.starts_with("Operation cancelled"), "{said}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{how}");
    }
}
