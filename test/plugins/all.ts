import { importTests } from '../fixtures/import-tests.ts'

importTests('test/plugins', 'test/plugins/schemas')
