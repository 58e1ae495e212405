# The Node of package-lock.json. .ci/pin-images.ts adds the digests.
FROM node:24.21.0-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The project's own Node is for machines with an older one; this image has it.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
# npm prune would keep the optional peers.
RUN npm run build && npm ci --omit=dev --ignore-scripts

FROM node:24.21.0-slim
ENV NODE_ENV=production TZ=Africa/Nairobi
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
COPY src/fleettickets.js src/fleettickets.js
# Committed migrations are read-only in a checkout, for their owner alone.
COPY --chmod=644 migrations/committed/*.sql migrations/committed/
COPY --chmod=644 migrations/fixtures/grants.sql migrations/fixtures/grants.sql
COPY --chmod=644 migrations/seeds/*.sql migrations/seeds/
RUN ln -s /app/src/fleettickets.js /usr/local/bin/fleettickets
USER node
# Whether a run would work from here. That the data is fresh is for status to say: at night it is not.
HEALTHCHECK --interval=15m --timeout=3m --start-period=1m CMD ["fleettickets", "doctor"]
# Stays alive for a scheduler that runs commands in it, such as: fleettickets ingest inc --apply
CMD ["sh", "-c", "trap exit TERM; while :; do sleep 3600 & wait $!; done"]
