//! Finds libferry: in the folder that FERRY_LIB_DIR names, else where `make` puts it in a checkout of Ferry.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=FERRY_LIB_DIR");
    println!("cargo:rerun-if-changed=build.rs");
    let folder = match env::var_os("FERRY_LIB_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../build"),
    };
    let library = folder.join("libferry.a");
    if !library.is_file() {
        eprintln!("{} is not there: run `make build`, or set FERRY_LIB_DIR to the folder of libferry.a", library.display());
        std::process::exit(1);
    }
    println!("cargo:rerun-if-changed={}", library.display());
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=static=ferry");
}
