// Holds the Argo CD application against the schema of its resource, for
// `cargo xtask deploy-check`. The packages @kubernetes-models/argo-cd and js-yaml are looked
// for as Node.js does, NODE_PATH included; 77 says that they are not there. The
// schema names what is needed and the types; a field that it does not know passes.

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

let models, yaml;
try {
  models = require("@kubernetes-models/argo-cd/argoproj.io/v1alpha1");
  yaml = require("js-yaml");
} catch (error) {
  console.log(error.message.split("\n")[0]);
  process.exit(77);
}

const file = join(__dirname, "application.yaml");
const found = yaml.load(readFileSync(file, "utf8"));
const Model = models[found.kind];
if (found.apiVersion !== "argoproj.io/v1alpha1" || Model === undefined) {
  console.error(`${file}: ${found.apiVersion} ${found.kind} is no resource of Argo CD`);
  process.exit(1);
}
try {
  new Model(found).validate();
} catch (error) {
  console.error(`${file}: ${error.message}`);
  process.exit(1);
}
