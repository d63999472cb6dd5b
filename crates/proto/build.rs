//! Generates the protobuf types and the gRPC clients and servers.

use std::io;

const STORED: &str = "proto/iris/stored.proto";
const OTHERS: [&str; 5] = [
    "proto/iris/client.proto",
    "proto/iris/control.proto",
    "proto/iris/coordinated.proto",
    "proto/iris/issuer.proto",
    "proto/iris/peer.proto",
];

fn main() -> io::Result<()> {
    // The stored types are used by the others under their path in this crate.
    let others = tonic_prost_build::configure().extern_path(".iris.stored.v1", "crate::stored");
    let stored = tonic_prost_build::configure();
    explained(others.bytes(".").compile_protos(&OTHERS, &["proto"]))?;
    explained(stored.bytes(".").compile_protos(&[STORED], &["proto"]))
}

fn explained(result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            "protoc is missing: `cargo xtask up` and `cargo xtask test` install it, or run \
             `apt-get install protobuf-compiler`",
        ),
        _ => error,
    })
}
