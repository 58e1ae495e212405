// The settings of graphile-migrate on the command line, for development (`npm run watch`, commit).
module.exports = {
  connectionString: process.env.DATABASE_URL,
  shadowConnectionString: process.env.SHADOW_DATABASE_URL,
  rootConnectionString: process.env.ROOT_DATABASE_URL,
  migrationsFolder: "./migrations",
  // Not after the committed migrations alone: what it grants may be made by the working one.
  afterCurrent: ["fixtures/grants.sql"],
};
