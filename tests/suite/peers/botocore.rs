//! The service models that AWS's own Python SDK ships: every operation, shape, limit, pattern and error, as JSON.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::provision::{provision, run};

const PACKAGE: &str = "botocore==1.44.8";

const UNPACK: &str = r#"
import glob, gzip, sys, zipfile
folder = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(folder + "/*.whl")[0])
for service in ("cognito-idp", "secretsmanager", "apigatewayv2"):
    name = next(n for n in wheel.namelist()
                if n.startswith(f"botocore/data/{service}/") and "/service-2.json" in n)
    data = wheel.read(name)
    data = gzip.decompress(data) if name.endswith(".gz") else data
    open(f"{folder}/{service}.json", "wb").write(data)
"#;

/// `cognito-idp`, `secretsmanager` or `apigatewayv2`.
pub fn service_model(service: &str) -> Value {
    let folder = provision("botocore", &format!("{PACKAGE}{UNPACK}"), |folder| {
        let download = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"];
        run(Command::new("python3").args(download).arg(folder).arg(PACKAGE));
        run(Command::new("python3").args(["-c", UNPACK]).arg(folder));
    });
    let text = fs::read(folder.join(format!("{service}.json"))).expect("a service model");
    serde_json::from_slice(&text).expect("JSON")
}
