//! Generates the Rust types of `proto/`; no protoc. With the feature `tonic`, its service too.

fn main() {
    tagwire_codegen::build(&["proto"], "schema.rs");
    #[cfg(feature = "tonic")]
    tonic();
}

/// `bench.v1.Game.rs`: the messages are those of the program that includes it.
#[cfg(feature = "tonic")]
fn tonic() {
    use tonic_build::manual::{Builder, Method, Service};

    let play = Method::builder()
        .name("play")
        .route_name("Play")
        .input_type("crate::Play")
        .output_type("crate::Play")
        .codec_path("tonic_prost::ProstCodec")
        .client_streaming()
        .server_streaming()
        .build();
    let ask = Method::builder()
        .name("ask")
        .route_name("Ask")
        .input_type("crate::AskRequest")
        .output_type("crate::AskReply")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let game = Service::builder().name("Game").package("bench.v1").method(play).method(ask).build();
    Builder::new().build_client(false).compile(&[game]);
}
