//! Server reflection, in both of its versions, as grpcurl and graphical clients use it.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic_reflection::pb::{v1, v1alpha};

use super::SERVICES;
use crate::harness::Daemon;

#[tokio::test]
async fn both_versions_list_every_service_and_describe_a_message() {
    let daemon = Daemon::start().await;
    let (listed, files) = ask_v1(&daemon).await;
    expect(listed, &files);
    let (listed, files) = ask_v1alpha(&daemon).await;
    expect(listed, &files);
    daemon.stop().await;
}

fn expect(listed: BTreeSet<String>, files: &[Vec<u8>]) {
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(listed.contains(service), "{service} is not in {listed:?}");
    }
    let files = files.iter().map(|file| FileDescriptorProto::decode(file.as_slice()).expect("a descriptor"));
    let described = files.flat_map(|file| file.message_type).find(|message| message.name() == "GetTokenRequest");
    let fields: Vec<_> = described.expect("described").field.iter().map(|field| field.name().to_owned()).collect();
    assert_eq!(fields, ["name", "scopes", "min_remaining"]);
}

async fn ask_v1(daemon: &Daemon) -> (BTreeSet<String>, Vec<Vec<u8>>) {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let ask = |asked| v1::ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let questions = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("keyward.v1.GetTokenRequest".to_owned())),
    ];
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(daemon.channel.clone());
    let answers = client.server_reflection_info(tokio_stream::iter(questions)).await;
    let mut answers = answers.expect("answered").into_inner();
    let (mut services, mut files) = (BTreeSet::new(), Vec::new());
    while let Some(answer) = answers.message().await.expect("an answer") {
        match answer.message_response.expect("an answer") {
            MessageResponse::ListServicesResponse(list) => services.extend(list.service.into_iter().map(|s| s.name)),
            MessageResponse::FileDescriptorResponse(found) => files.extend(found.file_descriptor_proto),
            other => panic!("{other:?}"),
        }
    }
    (services, files)
}

async fn ask_v1alpha(daemon: &Daemon) -> (BTreeSet<String>, Vec<Vec<u8>>) {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let ask = |asked| v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let questions = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("keyward.v1.GetTokenRequest".to_owned())),
    ];
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(daemon.channel.clone());
    let answers = client.server_reflection_info(tokio_stream::iter(questions)).await;
    let mut answers = answers.expect("answered").into_inner();
    let (mut services, mut files) = (BTreeSet::new(), Vec::new());
    while let Some(answer) = answers.message().await.expect("an answer") {
        match answer.message_response.expect("an answer") {
            MessageResponse::ListServicesResponse(list) => services.extend(list.service.into_iter().map(|s| s.name)),
            MessageResponse::FileDescriptorResponse(found) => files.extend(found.file_descriptor_proto),
            other => panic!("{other:?}"),
        }
    }
    (services, files)
}

#[tokio::test]
async fn an_open_reflection_stream_does_not_keep_the_daemon_from_ending() {
    use v1::server_reflection_request::MessageRequest;
    let daemon = Daemon::start().await;
    let list = MessageRequest::ListServices(String::new());
    let question = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    // The caller asks once and keeps the stream, as graphical clients do.
    let questions = tokio_stream::StreamExt::chain(tokio_stream::iter([question]), tokio_stream::pending());
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(daemon.channel.clone());
    let mut answers = client.server_reflection_info(questions).await.expect("answered").into_inner();
    assert!(answers.message().await.expect("an answer").is_some());
    daemon.stop().await;
}
