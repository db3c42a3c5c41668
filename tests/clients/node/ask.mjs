// Ask several models through Whet from Node: `node ask.mjs ADDRESS TOKEN "question" model [model ...]`.
// It needs the proto files and nothing else of Whet: no generated code, no Python.
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [address, token, prompt, ...models] = process.argv.slice(2);
const protos = process.env.WHET_PROTO ?? join(dirname(fileURLToPath(import.meta.url)), "../../../proto");

const definition = protoLoader.loadSync("whet/v1/fanout.proto", {
  includeDirs: [protos],
  keepCase: true,
  longs: String,
  enums: String,
  oneofs: true,
  arrays: true,
  defaults: true,
});
const { whet } = grpc.loadPackageDefinition(definition);
const client = new whet.v1.FanoutService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${token}`);

// The last cursor is kept, so that a lost connection goes on where it was; the request id makes the retry free.
let cursor = "";
let ended = false;
const call = client.RunFanout({ request_id: `node-${process.pid}`, spec: { prompt, models } }, metadata);
call.on("data", ({ run_id, batch }) => {
  cursor = batch.next_cursor;
  for (const event of batch.events) {
    if (event.payload === "branch_finished") {
      const { branch_id, state, model, text } = event.branch_finished;
      console.log(JSON.stringify({ branch_id, state, model, characters: text.length }));
    } else if (event.payload === "synthesis_finished") {
      const { state, text, sentences } = event.synthesis_finished;
      console.log(JSON.stringify({ synthesis: state, text, sentences: sentences.length }));
    } else if (event.payload === "run_finished") {
      ended = true;
      console.log(JSON.stringify({ run_id, state: event.run_finished.state, settled: event.run_finished.totals?.settled?.nanos ?? "0" }));
    }
  }
});
call.on("error", (error) => {
  console.error(`${error.code} ${error.details} (attach again with cursor ${JSON.stringify(cursor)})`);
  process.exitCode = 1;
});
call.on("end", () => {
  if (!ended) process.exitCode = 1;
});
