// Offer a scorer of your own to Whet from Node: `node score.mjs ADDRESS TOKEN`. It is then called remote:no_repeats.
// It needs the proto files and nothing else of Whet: no generated code, no Python.
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [address, token] = process.argv.slice(2);
const protos = process.env.WHET_PROTO ?? join(dirname(fileURLToPath(import.meta.url)), "../../../proto");

const definition = protoLoader.loadSync("whet/v1/scorer.proto", { includeDirs: [protos], keepCase: true, enums: String, defaults: true });
const { whet } = grpc.loadPackageDefinition(definition);
const client = new whet.v1.ScorerService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${token}`);

// What is scored: the share of the words that did not occur before.
function noRepeats(item, { ignore = [] }) {
  const words = (item.candidates[0] ?? "").toLowerCase().match(/\p{L}+/gu)?.filter((word) => !ignore.includes(word));
  if (!words?.length) return { rationale: "there are no words" }; // no score: it does not apply
  const repeated = words.filter((word, place) => words.indexOf(word) < place);
  return { score: 1 - repeated.length / words.length, value: repeated.length, rationale: repeated.join(", ") };
}

const stream = client.ServeScorer(metadata);
stream.write({ offer: { name: "no_repeats", description: "No word occurs twice.", unit: "words", direction: "DIRECTION_LOWER" } });

let stands = false;
stream.on("data", ({ task_id, item, settings }) => {
  if (!task_id) {
    // The first message says that the offer stands; later ones without a task say that the server is alive.
    if (!stands) console.log("ready");
    stands = true;
    return;
  }
  try {
    stream.write({ answer: { task_id, ...noRepeats(item, JSON.parse(settings || "{}")) } });
  } catch (error) {
    stream.write({ answer: { task_id, error: String(error) } });
  }
});
stream.on("error", (error) => {
  console.error(`${error.code} ${error.details}`);
  process.exitCode = 1;
});
process.on("SIGTERM", () => stream.end());
