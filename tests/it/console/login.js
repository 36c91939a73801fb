// A person shows the token in a real browser, with a script and without. Prints what is wrong.
//   login.js BASE TOKEN
"use strict";
const { chromium } = require("playwright-core");

const [base, token] = process.argv.slice(2);

async function enter(browser, javaScriptEnabled) {
  const page = await (await browser.newContext({ javaScriptEnabled })).newPage();
  const shows = async (typed) => {
    await page.locator("input[type=password]").fill(typed);
    await page.locator("main form button").click();
  };
  await page.goto(base + "/dead-letters");
  await shows("a guess");
  await page.locator("input[type=password]").waitFor();
  await shows(token);
  await page.waitForURL(base + "/dead-letters");
  await page.getByRole("heading", { name: "Dead letters" }).first().waitFor();
}

(async () => {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  await enter(browser, true);
  await enter(browser, false);
  await browser.close();
})().catch((error) => {
  console.log(error.stack);
  process.exit(1);
});
